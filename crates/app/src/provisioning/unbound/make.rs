//! A certificate is made that nobody has yet.

use fleetward_base::{Secret, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::Action;
use fleetward_pki::foreign::Named;
use fleetward_pki::{Serial, Signer, SoftKey, Validity, csr, name};
use fleetward_store::{PendingCertificateRow, TenantTx};
use serde_json::json;

use super::super::pending::{pem, unpem};
use super::{KnownCertificate, OPERATORS, SET_ASIDE, set_aside, waiting};
use crate::authority::{self, SignedLeaf, Wish};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::token::{TokenKind, generate, hash};
use crate::{App, Ctx, deny_list};

/// A certificate that was made, with its key where that was made here too: shown this once.
pub struct MadeCertificate {
    pub certificate: KnownCertificate,
    /// PKCS#8 and SPKI in PEM.
    pub keys: Option<(Secret<String>, String)>,
}

/// Makes a certificate for the key of a request in PEM.
///
/// # Errors
/// `Invalid` (`csr`); `Conflict` (`certificates-full`).
pub async fn create_from_csr(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    csr_pem: &str,
    active: bool,
) -> Result<MadeCertificate> {
    ctx.allow(tenant, Permission::DeviceCreate)?;
    let der = unpem(csr_pem, "CERTIFICATE REQUEST").ok_or_else(|| Error::invalid("csr", "not a request in PEM"))?;
    let certificate = create(app, ctx, tenant, &der, active).await?;
    Ok(MadeCertificate { certificate, keys: None })
}

/// Makes a certificate and its key, where the tenant's policy allows that.
///
/// # Errors
/// `Conflict` (`server-keys-off`, `certificates-full`).
pub async fn create_with_key(app: &App, ctx: &Ctx, tenant: &TenantId, active: bool) -> Result<MadeCertificate> {
    ctx.allow(tenant, Permission::DeviceCreate)?;
    if !identity_policy(app, tenant).await?.provisioning.server_keys {
        let why = "keys are made on the device here: send a request (policy provisioning.server_keys is off)";
        return Err(Error::conflict("server-keys-off", why));
    }
    let (key, pkcs8) = SoftKey::generate();
    let subject = name::write(Some(tenant.as_str()), "Fleetward certificate");
    let der = csr::write(&subject, &[], &key).map_err(Error::internal)?;
    let certificate = create(app, ctx, tenant, &der, active).await?;
    let private = Secret::new(pem("PRIVATE KEY", pkcs8.expose()));
    Ok(MadeCertificate { certificate, keys: Some((private, pem("PUBLIC KEY", key.public_spki()))) })
}

async fn create(app: &App, ctx: &Ctx, tenant: &TenantId, der: &[u8], active: bool) -> Result<KnownCertificate> {
    let bad = |error: fleetward_pki::CsrError| Error::invalid("csr", error.to_string());
    let csr = csr::parse(der).map_err(bad)?;
    csr.check_unbound(tenant).map_err(bad)?;
    let policy = identity_policy(app, tenant).await?;
    let now = app.now();
    let validity = Validity {
        not_before: now.minus(policy.certificates.backdate()),
        not_after: now.plus(policy.certificates.life()),
    };
    let id = Serial::generate(app.rng().as_ref()).to_string();
    let wish = Wish { tenant, named: Named::Unbound(&id), csr: &csr, validity, latest: validity.not_after };
    let signed = authority::sign_leaf(app, &wish).await.map_err(|fault| fault.into_error("csr"))?;
    let SignedLeaf { issued, authority, .. } = signed;
    // Nobody gets it: these are attached by whoever may, and not by who knows a word.
    let token = generate(TokenKind::Ownership, app.rng().as_ref());
    let token = hash(TokenKind::Ownership, token.expose()).ok_or_else(|| Error::internal("a token that is none"))?;
    let row = PendingCertificateRow {
        id: issued.fingerprint.clone(),
        token: token.to_vec(),
        claim: OPERATORS.to_owned(),
        connection: String::new(),
        serial: issued.serial.to_string(),
        authority,
        request: csr.request_hash(tenant).to_vec(),
        not_before: issued.validity.not_before,
        not_after: issued.validity.not_after,
        der: issued.der.clone(),
        created_at: now,
        expires_at: now.plus(limits::UNBOUND_CERTIFICATE_TTL),
    };
    let ctx_in = ctx.clone();
    let row = app.write(tenant, "unbound certificate", move |tx: &mut TenantTx| {
        Box::pin(async move {
            if tx.count_pending_certificates(OPERATORS, now).await? >= limits::UNBOUND_CERTIFICATES {
                let reason = format!("{} certificates wait for their device already", limits::UNBOUND_CERTIFICATES);
                return Err(Error::conflict("certificates-full", reason));
            }
            tx.insert_pending_certificate(&row).await?;
            if !active {
                set_aside(tx, &ctx_in, &row.serial, SET_ASIDE, now).await?;
            }
            let entry = ctx_in.done(now, Action::CertificatePending).subject(&row.serial);
            record(tx, &entry.detail(json!({ "certificate_id": row.id, "active": active }))).await?;
            Ok(row)
        })
    });
    let row = row.await?;
    if !active {
        deny_list::refresh(app).await?;
    }
    Ok(waiting(app, tenant, row))
}
