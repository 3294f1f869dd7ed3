//! Symmetric keys with which devices enrol: of a group, from which each device has one derived, or of one device.
//!
//! A device's key is base64(HMAC-SHA-256(group key, registration id)), as Azure's provisioning service derives it, so that
//! a factory computes the keys of a whole batch without asking anybody. There are two keys of each, so that one can be
//! changed while devices still come with the other. They lie sealed, and are shown once. What a device does with its key
//! is in [`crate::enroll`].

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_base::{DeviceId, Secret, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::registry::{Class, DeviceFields};
use fleetward_core::text::UnknownText;
use fleetward_store::{EnrollmentRow, TenantTx};
use fleetward_vault::Purpose;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx, idempotency};

/// What Azure's service makes; somebody else's keys may be shorter.
const KEY_BYTES: usize = 64;
const KEY_BYTES_MIN: usize = 16;

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Group,
    Individual,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Individual => "individual",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = UnknownText;

    fn from_str(text: &str) -> Result<Self, UnknownText> {
        match text {
            "group" => Ok(Self::Group),
            "individual" => Ok(Self::Individual),
            _ => Err(UnknownText { kind: "kind of enrolment" }),
        }
    }
}

/// What somebody asks for.
#[derive(Clone, Debug, Default)]
pub struct NewEnrollment {
    pub class: Option<Class>,
    pub hardware: Option<String>,
    /// Given to each device that registers.
    pub payload: Option<Value>,
    /// Keys that exist already, in base64; made here where they are absent.
    pub primary_key: Option<Secret<String>>,
    pub secondary_key: Option<Secret<String>>,
}

/// An enrolment without its keys.
#[derive(Clone, Debug)]
pub struct Enrollment {
    pub kind: &'static str,
    pub name: String,
    pub class: Option<String>,
    pub hardware: Option<String>,
    pub payload: Option<Value>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub rotated_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub revision: u64,
}

/// The keys of an enrolment, shown this once; base64.
#[derive(Serialize, Deserialize)]
pub struct ShownKeys {
    pub kind: Kind,
    pub name: String,
    pub primary_key: String,
    pub secondary_key: String,
    /// What devices are told to address.
    pub id_scope: String,
}

/// Makes a group, or the enrolment of one device, which is then named as the device is.
///
/// # Errors
/// `Conflict` (`enrollment-exists`); `Invalid` with the field; `TooMany` where there are as many as may be.
pub async fn create_enrollment(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    kind: Kind,
    name: String,
    new: NewEnrollment,
) -> Result<ShownKeys> {
    ctx.allow(tenant, Permission::EnrollmentKeyCreate)?;
    // A group's name follows the rules of a device's: both stand in journals, paths and sources of certificates.
    let name: DeviceId = name.parse().map_err(|error: fleetward_base::BadId| Error::invalid("name", error.rule))?;
    let fields = DeviceFields { class: new.class, hardware: new.hardware.clone(), ..DeviceFields::default() };
    fleetward_core::registry::Device::new(name.clone(), app.now())
        .amend(fields, app.now())
        .map_err(|invalid| Error::invalid(invalid.field, invalid.why))?;
    let payload = new.payload.map(|payload| payload.to_string());
    if payload.as_ref().is_some_and(|text| text.len() > limits::ENROLLMENT_PAYLOAD_BYTES) {
        return Err(Error::TooLarge { what: "the payload", limit: limits::ENROLLMENT_PAYLOAD_BYTES as u64 });
    }
    let primary = given_or_made(app, "primary_key", new.primary_key)?;
    let secondary = given_or_made(app, "secondary_key", new.secondary_key)?;
    let now = app.now();
    let seal = |place: Place, key: &Secret<Vec<u8>>| seal(app, tenant, kind, name.as_str(), place, key);
    let row = EnrollmentRow {
        kind: kind.as_str().to_owned(),
        name: name.to_string(),
        primary_key: seal(Place::Primary, &primary)?,
        secondary_key: seal(Place::Secondary, &secondary)?,
        class: new.class.map(|class| class.to_string()),
        hardware: new.hardware,
        payload,
        created_by: ctx.principal.actor().name,
        created_at: now,
        rotated_at: None,
        revoked_at: None,
        revision: 1,
    };
    let (primary_key, secondary_key) = (STANDARD.encode(primary.expose()), STANDARD.encode(secondary.expose()));
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    app.write(tenant, "create enrollment", move |tx| {
        Box::pin(async move {
            if let Some(kept) = idempotency::replay(&app_in, tx, &ctx_in).await? {
                return Ok(kept);
            }
            let most = match kind {
                Kind::Group => u64::from(limits::ENROLLMENT_GROUPS),
                Kind::Individual => limits::ENROLLMENTS_INDIVIDUAL,
            };
            if tx.count_enrollments(kind.as_str()).await? >= most {
                return Err(Error::conflict("enrollments-full", format!("there are {most} such enrolments already")));
            }
            if tx.enrollment(&row.kind, &row.name).await?.is_some() {
                return Err(Error::conflict("enrollment-exists", format!("the enrolment {} exists", row.name)));
            }
            tx.insert_enrollment(&row).await?;
            let entry = ctx_in.done(now, Action::EnrollmentKeyCreated).subject(&row.name).severity(Severity::Notice);
            record(tx, &entry.detail(json!({ "kind": row.kind }))).await?;
            let id_scope = scope_of(&app_in, tx).await?;
            let made = ShownKeys { kind, name: row.name, primary_key, secondary_key, id_scope };
            idempotency::keep(&app_in, tx, &ctx_in, &made).await?;
            Ok(made)
        })
    })
    .await
}

/// A page of the enrolments of a kind, by name, after `after`.
pub async fn enrollments(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    kind: Kind,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<Enrollment>> {
    ctx.allow(tenant, Permission::EnrollmentKeyRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "enrollments", move |tx| {
            Box::pin(async move { Ok(tx.enrollments(kind.as_str(), after.as_deref(), limit).await?) })
        })
        .await?;
    rows.into_iter().map(enrollment_of).collect()
}

/// One enrolment.
///
/// # Errors
/// `NotFound`.
pub async fn enrollment(app: &App, ctx: &Ctx, tenant: &TenantId, kind: Kind, name: &str) -> Result<Enrollment> {
    ctx.allow(tenant, Permission::EnrollmentKeyRead)?;
    let name = name.to_owned();
    let row = app
        .read(tenant, "enrollment", move |tx| Box::pin(async move { Ok(tx.enrollment(kind.as_str(), &name).await?) }))
        .await?;
    row.map(enrollment_of).transpose()?.ok_or(NOT_THERE)
}

/// Makes another primary key; what was the primary becomes the secondary, and what was that counts no more.
///
/// # Errors
/// `NotFound`; `Conflict` (`enrollment-revoked`).
pub async fn rotate_enrollment(app: &App, ctx: &Ctx, tenant: &TenantId, kind: Kind, name: &str) -> Result<ShownKeys> {
    ctx.allow(tenant, Permission::EnrollmentKeyCreate)?;
    let (app_in, ctx_in, name, now) = (app.clone(), ctx.clone(), name.to_owned(), app.now());
    let tenant_in = tenant.clone();
    app.write(tenant, "rotate enrollment", move |tx| {
        Box::pin(async move {
            if let Some(kept) = idempotency::replay(&app_in, tx, &ctx_in).await? {
                return Ok(kept);
            }
            let before = tx.enrollment(kind.as_str(), &name).await?.ok_or(NOT_THERE)?;
            if before.revoked_at.is_some() {
                return Err(Error::conflict("enrollment-revoked", "the enrolment was revoked"));
            }
            let old = open(&app_in, &tenant_in, kind, &before, Place::Primary)?;
            let new = made(&app_in);
            let seal = |place: Place, key: &Secret<Vec<u8>>| seal(&app_in, &tenant_in, kind, &name, place, key);
            let after = EnrollmentRow {
                primary_key: seal(Place::Primary, &new)?,
                secondary_key: seal(Place::Secondary, &old)?,
                rotated_at: Some(now),
                revision: before.revision + 1,
                ..before
            };
            if !tx.update_enrollment(&after, before.revision).await? {
                return Err(Error::conflict("enrollment-changed", "the enrolment changed meanwhile; repeat"));
            }
            let entry = ctx_in.done(now, Action::EnrollmentKeyRotated).subject(&name).severity(Severity::Notice);
            record(tx, &entry.detail(json!({ "kind": kind.as_str() }))).await?;
            let (primary_key, secondary_key) = (STANDARD.encode(new.expose()), STANDARD.encode(old.expose()));
            let id_scope = scope_of(&app_in, tx).await?;
            let shown = ShownKeys { kind, name, primary_key, secondary_key, id_scope };
            idempotency::keep(&app_in, tx, &ctx_in, &shown).await?;
            Ok(shown)
        })
    })
    .await
}

/// Takes both keys back: nobody enrols with them any more. Devices that did keep their certificates.
///
/// # Errors
/// `NotFound`.
pub async fn revoke_enrollment(app: &App, ctx: &Ctx, tenant: &TenantId, kind: Kind, name: &str) -> Result<()> {
    ctx.allow(tenant, Permission::EnrollmentKeyRevoke)?;
    let (ctx_in, name, now) = (ctx.clone(), name.to_owned(), app.now());
    app.write(tenant, "revoke enrollment", move |tx| {
        Box::pin(async move {
            let before = tx.enrollment(kind.as_str(), &name).await?.ok_or(NOT_THERE)?;
            if before.revoked_at.is_some() {
                return Ok(());
            }
            let expected = before.revision;
            let after = EnrollmentRow { revoked_at: Some(now), revision: expected + 1, ..before };
            if !tx.update_enrollment(&after, expected).await? {
                return Err(Error::conflict("enrollment-changed", "the enrolment changed meanwhile; repeat"));
            }
            let entry = ctx_in.done(now, Action::EnrollmentKeyRevoked).subject(&name).severity(Severity::Warning);
            record(tx, &entry.detail(json!({ "kind": kind.as_str() }))).await?;
            Ok(())
        })
    })
    .await
}

/// The name by which devices without a credential address the tenant; made when it is first asked for.
pub async fn id_scope(app: &App, ctx: &Ctx, tenant: &TenantId) -> Result<String> {
    ctx.allow(tenant, Permission::EnrollmentKeyRead)?;
    let known = app.read(tenant, "id scope", |tx| Box::pin(async move { Ok(tx.id_scope().await?) })).await?;
    if let Some(scope) = known {
        return Ok(scope);
    }
    let app_in = app.clone();
    app.write(tenant, "id scope", move |tx| Box::pin(async move { scope_of(&app_in, tx).await })).await
}

/// As Azure's look: `0ne` and digits in hex.
async fn scope_of(app: &App, tx: &mut TenantTx) -> Result<String> {
    let mut random = [0; 8];
    app.rng().fill(&mut random);
    let scope = format!("0ne{}", random.iter().map(|byte| format!("{byte:02X}")).collect::<String>());
    tx.put_id_scope(&scope, app.now()).await?;
    tx.id_scope().await?.ok_or_else(|| Error::internal("a scope that was put is not there"))
}

/// The key of one device of a group.
pub fn derived(group_key: &[u8], registration_id: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, group_key);
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&key, registration_id.as_bytes()).as_ref());
    out
}

/// The keys that count for a device by this enrolment: its own, or derived from the group's.
pub(crate) fn keys_for(
    app: &App,
    tenant: &TenantId,
    kind: Kind,
    row: &EnrollmentRow,
    device: &DeviceId,
) -> Result<[Secret<Vec<u8>>; 2]> {
    let key = |place| -> Result<Secret<Vec<u8>>> {
        let key = open(app, tenant, kind, row, place)?;
        Ok(match kind {
            Kind::Group => Secret::new(derived(key.expose(), device.as_str()).to_vec()),
            Kind::Individual => key,
        })
    };
    Ok([key(Place::Primary)?, key(Place::Secondary)?])
}

const NOT_THERE: Error = Error::NotFound { what: "enrolment" };

/// Which of the two keys.
#[derive(Clone, Copy)]
enum Place {
    Primary,
    Secondary,
}

impl Place {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }
}

fn made(app: &App) -> Secret<Vec<u8>> {
    let mut key = Secret::new(vec![0; KEY_BYTES]);
    app.rng().fill(key.expose_mut());
    key
}

fn given_or_made(app: &App, field: &'static str, given: Option<Secret<String>>) -> Result<Secret<Vec<u8>>> {
    let Some(text) = given else { return Ok(made(app)) };
    let key = STANDARD.decode(text.expose()).map(Secret::new).ok();
    key.filter(|key| (KEY_BYTES_MIN..=KEY_BYTES).contains(&key.expose().len()))
        .ok_or_else(|| Error::invalid(field, format!("base64 of {KEY_BYTES_MIN} to {KEY_BYTES} bytes")))
}

fn seal(app: &App, tenant: &TenantId, kind: Kind, name: &str, place: Place, key: &Secret<Vec<u8>>) -> Result<Vec<u8>> {
    let bound_to = [tenant.as_str(), "enrollment", kind.as_str(), name, place.as_str()];
    app.vault().seal(app.rng().as_ref(), Purpose::Secret, &bound_to, key.expose()).map_err(Error::from)
}

fn open(app: &App, tenant: &TenantId, kind: Kind, row: &EnrollmentRow, place: Place) -> Result<Secret<Vec<u8>>> {
    let sealed = match place {
        Place::Primary => &row.primary_key,
        Place::Secondary => &row.secondary_key,
    };
    let bound_to = [tenant.as_str(), "enrollment", kind.as_str(), &row.name, place.as_str()];
    app.vault().open(Purpose::Secret, &bound_to, sealed).map_err(Error::from)
}

fn enrollment_of(row: EnrollmentRow) -> Result<Enrollment> {
    let kind: Kind = row.kind.parse().map_err(Error::internal)?;
    Ok(Enrollment {
        kind: kind.as_str(),
        name: row.name,
        class: row.class,
        hardware: row.hardware,
        payload: row.payload.map(|text| serde_json::from_str(&text)).transpose().map_err(Error::internal)?,
        created_by: row.created_by,
        created_at: row.created_at,
        rotated_at: row.rotated_at,
        revoked_at: row.revoked_at,
        revision: row.revision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Azure's documentation of the derivation.
    #[test]
    fn a_key_is_derived_as_azure_derives_it() {
        let group = "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
        let key = STANDARD.decode(group).expect("base64");
        let device = derived(&key, "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6");
        assert_eq!(STANDARD.encode(device), "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=");
    }
}
