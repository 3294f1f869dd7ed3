//! A device is taken in: it is known by a certificate from here on, whichever way it came and whoever signed it.
//!
//! Both paths to a first certificate end here ([`super::newcomer`], which signs one, and [`super::adopt`], which finds one),
//! so that what keeps a device out, and what it has to prove anew, is the same for all of them: the deny list, the
//! manufacturing database, the life cycle, attestation.

use fleetward_base::{RequestId, Timestamp};
use fleetward_core::enrolment::{Way, permits};
use fleetward_core::identity_policy::IdentityPolicy;
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_core::registry::DeviceFields;
use fleetward_pki::Certificate;
use fleetward_store::{CertificateRow, TenantTx};
use serde_json::Value;

use super::hardware::{self, Asker};
use super::refusal::{Fault, Refusal};
use super::{issue, provenance};
use crate::error::Error;
use crate::registry::row_of;
use crate::{App, deny_list};

/// Who is taken in, and by what.
pub(super) struct Intake<'a> {
    /// With the device that it is to be known for.
    pub(super) certificate: &'a CertificateRow,
    pub(super) way: Way,
    /// Whether it was issued by an authority of the tenant, and not by a factory.
    pub(super) signed_here: bool,
    /// What is known of the device from elsewhere and goes into its record.
    pub(super) fields: DeviceFields,
    /// What the device showed of its hardware: the names in a factory's certificate.
    pub(super) hardware: &'a [String],
    pub(super) policy: &'a IdentityPolicy,
    /// For the journal.
    pub(super) detail: Value,
    pub(super) request_id: RequestId,
}

/// Makes the device known by its certificate; whether it had one before.
///
/// # Errors
/// A refusal: `denied`, `device-status`, `device-facts`, what the manufacturing database refuses, and what says which hardware has the
/// key ([`hardware`]).
pub(super) async fn take_in(app: &App, tx: &mut TenantTx, intake: Intake<'_>, now: Timestamp) -> Result<bool, Fault> {
    let Intake { certificate: row, way, signed_here, fields, hardware: named, policy, detail, request_id } = intake;
    let tenant = tx.tenant().cloned().ok_or_else(|| Error::internal("a device of no tenant"))?;
    // The key of a device that was stolen comes again, by whatever way.
    if deny_list::is_denied_certificate(app, &tenant, &row.serial, &row.der) {
        return Err(Refusal::credential("denied", "the certificate or its key is on the deny list"));
    }
    let made = provenance::admit(tx, &policy.enrolment, &row.device, &fields).await?;
    provenance::check_hardware(app, &tenant, tx, &row.device, &fields, named).await?;
    let before = issue::device_for_enrolment(tx, &row.device, request_id, now).await?;
    if !permits(before.status, way) {
        let reason = "the device was suspended; give it a new enrolment token to let it back in";
        let error = Error::conflict("life-cycle", reason);
        return Err(Fault::Refused(Refusal { cause: "device-status", error }));
    }
    let fields = provenance::facts(&before, made.as_ref(), fields);
    let known = before.amend(fields, now).map_err(|invalid| {
        let error = Error::invalid(invalid.field, invalid.why);
        Fault::Refused(Refusal { cause: "device-facts", error })
    })?;
    // What a factory signed was not issued here; whose key that is comes out when the device attests.
    if signed_here {
        let key = Certificate::parse(&row.der).map_err(Error::internal)?.spki;
        hardware::check(tx, &policy.attestation, known.class, &row.device, &key, Asker::Newcomer, now).await?;
    }
    if known.revision != before.revision && !tx.update_device(&row_of(&known)?, before.revision).await? {
        return Err(Error::conflict("device-changed", "the device's record changed meanwhile").into());
    }
    let entry = Entry::done(now, Actor::device(&row.device), Action::CertificateIssued)
        .subject(&row.serial)
        .detail(detail)
        .request(Some(request_id));
    issue::keep(tx, &known, row, entry, &policy.renewal.terms(), request_id).await?;
    // Whoever comes anew, or comes back, proves itself anew.
    tx.forget_attestation(&row.device).await?;
    Ok(before.certificate.is_some())
}
