use super::*;

fn names() -> (TenantId, DeviceId) {
    ("acme".parse().expect("a name"), "gw-1".parse().expect("a name"))
}

fn arrival(epoch: u64) -> Arrival {
    Arrival { epoch, address: None, protocol: "mqtt-5" }
}

#[test]
fn the_newest_connection_counts_whatever_order_it_is_told_in() {
    let (presences, (tenant, device)) = (Presences::default(), names());
    let at = Timestamp::from_secs;
    presences.connected(&tenant, &device, at(1), arrival(1));
    presences.connected(&tenant, &device, at(2), arrival(2));
    presences.disconnected(&tenant, &device, at(3), 1, "connection_lost");
    assert!(presences.of(&tenant, &device).online, "the old connection went, the new one is there");
    presences.disconnected(&tenant, &device, at(4), 2, "connection_lost");
    presences.connected(&tenant, &device, at(5), arrival(1));
    assert!(!presences.of(&tenant, &device).online, "an old arrival told late");
    assert_eq!(presences.online_count(), 0);
}

#[test]
fn each_coming_and_going_is_taken_once_and_can_be_given_back() {
    let (presences, (tenant, device)) = (Presences::default(), names());
    presences.connected(&tenant, &device, Timestamp::from_secs(1), arrival(1));
    presences.disconnected(&tenant, &device, Timestamp::from_secs(2), 1, "connection_lost");
    let mut taken = presences.take_transitions();
    assert!(presences.take_transitions().is_empty());
    presences.connected(&tenant, &device, Timestamp::from_secs(3), arrival(2));
    presences.give_back(taken.remove(&tenant).expect("two"));
    let again = presences.take_transitions().remove(&tenant).expect("three");
    let times: Vec<i64> = again.iter().map(|(transition, _)| transition.at.secs()).collect();
    assert_eq!(times, [1, 2, 3]);
    assert!(again.iter().all(|(_, presence)| presence.online), "every line has what is so now");
}
