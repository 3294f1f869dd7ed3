//! Certificates that wait: issued to a claim, usable by nobody until they have become a device's.
//!
//! Such a certificate names no device, since nobody knows yet which it will be; the registry binds it. It is not in the
//! registry before that, so that no door takes it; and what nobody owned in its hour is revoked, for those who ask no
//! registry. A claim has no more of them than devices may still come with it: the oldest makes room.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetward_base::{Secret, limits};
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_pki::foreign::Named;
use fleetward_pki::{Csr, Serial, SoftKey, Validity, csr, name};
use fleetward_store::{PendingCertificateRow, TenantTx};
use serde_json::json;

use super::Claimant;
use super::register::{Refused, Stop, refuse, standing_claim};
use crate::App;
use crate::authority::{self, LeafFault, SignedLeaf, Wish};
use crate::error::Error;
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::token::{TokenKind, generate, hash};

/// A certificate that waits, with what proves that it is the asker's.
pub struct NewPending {
    pub certificate_id: String,
    pub certificate_pem: String,
    /// PKCS#8 in PEM, where the server made the key. It is not kept.
    pub private_key: Option<Secret<String>>,
    pub ownership_token: Secret<String>,
}

/// A certificate for the key of a request in PEM.
///
/// # Errors
/// [`Refused`]; the cause is journaled.
pub async fn create_from_csr(app: &App, claimant: &Claimant, csr_pem: &str) -> Result<NewPending, Refused> {
    let made = async {
        app.provisioning().request(app, claimant)?;
        let bad = |why: String| Stop::at("bad-csr", Refused::Csr(why));
        let der =
            unpem(csr_pem, "CERTIFICATE REQUEST").ok_or_else(|| bad("Not a PKCS#10 request in PEM".to_owned()))?;
        let csr = csr::parse(&der).map_err(|error| Stop::at(error.code(), Refused::Csr(error.to_string())))?;
        csr.check_unbound(&claimant.tenant).map_err(|error| Stop::at(error.code(), Refused::Csr(error.to_string())))?;
        create(app, claimant, &csr, None).await
    };
    match made.await {
        Ok(pending) => Ok(pending),
        Err(stop) => Err(refuse(app, claimant, stop).await),
    }
}

/// A certificate for a key that the server makes, where the tenant's policy allows that.
///
/// # Errors
/// [`Refused`]; the cause is journaled.
pub async fn create_with_key(app: &App, claimant: &Claimant) -> Result<NewPending, Refused> {
    let made = async {
        app.provisioning().request(app, claimant)?;
        if !identity_policy(app, &claimant.tenant).await?.provisioning.server_keys {
            let why = "Keys are made on the device here: use create-from-csr (policy provisioning.server_keys is off)";
            return Err(Stop::at("server-keys-off", Refused::Denied(why)));
        }
        let (key, pkcs8) = SoftKey::generate();
        let subject = name::write(Some(claimant.tenant.as_str()), "Fleetward certificate");
        let der = csr::write(&subject, &[], &key).map_err(Error::internal)?;
        let csr = csr::parse(&der).map_err(Error::internal)?;
        create(app, claimant, &csr, Some(Secret::new(pem("PRIVATE KEY", pkcs8.expose())))).await
    };
    match made.await {
        Ok(pending) => Ok(pending),
        Err(stop) => Err(refuse(app, claimant, stop).await),
    }
}

async fn create(
    app: &App,
    claimant: &Claimant,
    csr: &Csr,
    private_key: Option<Secret<String>>,
) -> Result<NewPending, Stop> {
    let tenant = &claimant.tenant;
    let policy = identity_policy(app, tenant).await?;
    let now = app.now();
    let validity = Validity {
        not_before: now.minus(policy.certificates.backdate()),
        not_after: now.plus(policy.certificates.life()),
    };
    // Its name where somebody else signs, who chooses the serial number.
    let id = Serial::generate(app.rng().as_ref()).to_string();
    let wish = Wish { tenant, named: Named::Unbound(&id), csr, validity, latest: validity.not_after };
    let SignedLeaf { issued, authority, .. } = authority::sign_leaf(app, &wish).await.map_err(|fault| match fault {
        LeafFault::Request(error) => Stop::at(error.code(), Refused::Csr(error.to_string())),
        LeafFault::Failed(error) => Stop::Failed(error),
    })?;
    let token = generate(TokenKind::Ownership, app.rng().as_ref());
    let hash = hash(TokenKind::Ownership, token.expose()).ok_or_else(|| Error::internal("a token that is none"))?;
    let row = PendingCertificateRow {
        id: issued.fingerprint.clone(),
        token: hash.to_vec(),
        claim: claimant.claim.clone(),
        connection: claimant.connection.clone(),
        serial: issued.serial.to_string(),
        authority,
        request: csr.request_hash(tenant).to_vec(),
        not_before: issued.validity.not_before,
        not_after: issued.validity.not_after,
        der: issued.der.clone(),
        created_at: now,
        expires_at: now.plus(limits::OWNERSHIP_TOKEN_TTL),
    };
    let pending = NewPending {
        certificate_id: row.id.clone(),
        certificate_pem: pem("CERTIFICATE", &issued.der),
        private_key,
        ownership_token: token,
    };
    keep(app, claimant, row).await?;
    Ok(pending)
}

async fn keep(app: &App, claimant: &Claimant, row: PendingCertificateRow) -> Result<(), Stop> {
    let (tenant, claimant, request_id) = (claimant.tenant.clone(), claimant.clone(), app.new_request_id());
    app.store()
        .write(&tenant, "pending certificate", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let now = row.created_at;
                let claim = standing_claim(tx.claim_for_update(&claimant.claim).await?, &claimant, now)?;
                if let Some(cap) = claim.count_cap {
                    let Some(others) = cap.saturating_sub(claim.used).checked_sub(1) else {
                        let refused = Refused::Limit("The claim has been used as often as it may");
                        return Err(Stop::at("full-claim", refused));
                    };
                    tx.end_pending_certificates(&claim.name, others, now).await?;
                }
                if tx.count_pending_certificates(&claimant.claim, now).await? >= limits::PENDING_PER_CLAIM {
                    let refused = Refused::Limit("Too many certificates of this claim wait for their device");
                    return Err(Stop::at("pending-certificates", refused));
                }
                tx.insert_pending_certificate(&row).await?;
                let actor = Actor::anonymous(claimant.address.to_string());
                let entry = Entry::done(now, actor, Action::CertificatePending).subject(&row.serial);
                let detail = json!({
                    "claim": claimant.claim, "connection": claimant.connection, "certificate_id": row.id,
                });
                record(tx, &entry.detail(detail).request(Some(request_id))).await?;
                Ok::<_, Stop>(())
            })
        })
        .await
}

/// DER in PEM, lines of 64 characters.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = behind;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// The DER of the first PEM with this label; `NEW` may stand before it, as older tools write it.
pub(crate) fn unpem(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text
        .split_once(&format!("-----BEGIN {label}-----"))
        .or_else(|| text.split_once(&format!("-----BEGIN NEW {label}-----")))?;
    let (body, _) = rest.split_once("-----END ")?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_reads_as_it_is_written() {
        for der in [Vec::new(), vec![1], vec![7; 48], vec![9; 1000]] {
            let text = pem("CERTIFICATE", &der);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(unpem(&format!("x\r\n{text}"), "CERTIFICATE"), Some(der));
        }
        for bad in ["", "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----"] {
            assert_eq!(unpem(bad, "CERTIFICATE"), None);
        }
        assert!(unpem("-----BEGIN NEW CERTIFICATE REQUEST-----\nAA==\n-----END NEW", "CERTIFICATE REQUEST").is_some());
    }
}
