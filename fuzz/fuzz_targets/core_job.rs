//! Policies of jobs, with the cron expressions in them: any text is read or refused, and what was read has a next window.
#![no_main]

use fleetward_base::Timestamp;
use fleetward_core::job::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(policy) = serde_json::from_slice::<Policy>(bytes) else { return };
    let again = serde_json::to_vec(&policy).expect("JSON");
    assert_eq!(serde_json::from_slice::<Policy>(&again).expect("own output"), policy);
    let now = Timestamp::from_secs(1_795_818_600);
    if policy.check().is_ok()
        && let Some(opens) = policy.schedule.opens_after(now)
    {
        assert!(opens > now && policy.schedule.is_open(opens));
    }
});
