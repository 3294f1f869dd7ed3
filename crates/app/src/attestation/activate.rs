//! Activation: whose TPM it is, and which key in it attests.
//!
//! The device shows its endorsement key, with its maker's certificate or on a list, and its attestation key. It gets a
//! secret that only a TPM with both gives out. Bringing it back proves the pair, and the server certifies the key.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use fleetward_attest::evidence::CertifiedKey;
use fleetward_attest::messages::Keys;
use fleetward_attest::tpm::certified::{self, Certified};
use fleetward_attest::tpm::{self, Public, credential, endorsement};
use fleetward_base::{DeviceId, Secret, TenantId, Timestamp, limits};
use fleetward_core::journal::Action;
use fleetward_pki::{Serial, Validity, attestation_key};
use fleetward_store::{OtherCertificateRow, TenantTx};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::evidence::refused;
use super::vouched::vouched;
use super::{hex, introduction, own, row_for_update};
use crate::authority::{OtherKind, other_row};
use crate::deny_list::key_hash;
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::{App, Ctx, authority, deny_list};

/// Certificates that may stand between that of an endorsement key and a root.
const INTERMEDIATES: usize = 8;

/// What a device shows of its TPM.
#[derive(Clone, Debug, Default)]
pub struct Endorsement {
    /// TPMT_PUBLIC of the endorsement key.
    pub public: Vec<u8>,
    /// DER; none where the TPM has none.
    pub certificate: Option<Vec<u8>>,
    /// DER of the certificates between it and the maker's root.
    pub chain: Vec<Vec<u8>>,
    /// TPMT_PUBLIC of the attestation key.
    pub attestation: Vec<u8>,
}

/// What the TPM is to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// TPM2B_ID_OBJECT.
    pub credential: Vec<u8>,
    /// TPM2B_ENCRYPTED_SECRET.
    pub secret: Vec<u8>,
}

impl From<Keys> for Endorsement {
    fn from(keys: Keys) -> Self {
        Self {
            public: keys.endorsement.0,
            certificate: keys.certificate.map(|der| der.0),
            chain: keys.chain.into_iter().map(|der| der.0).collect(),
            attestation: keys.attestation.0,
        }
    }
}

/// What came of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// Of the attestation key, DER.
    pub certificate: Option<Vec<u8>>,
    /// Until when a certificate is issued for the key that was certified with it.
    pub certified_until: Option<Timestamp>,
}

/// An activation that waits for its proof; kept as JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) identity: String,
    anchor: String,
    root: String,
    attestation: Vec<u8>,
    /// SHA-256 of the secret.
    secret: Vec<u8>,
    until: Timestamp,
}

impl Pending {
    /// The activation that waits, if this is the secret that was wrapped for it.
    pub(super) fn open(kept: Option<String>, secret: &Secret<Vec<u8>>, now: Timestamp) -> Result<Self> {
        let pending = kept.map(|text| serde_json::from_str::<Self>(&text)).transpose().map_err(Error::internal)?;
        let pending = pending
            .filter(|pending| now <= pending.until)
            .ok_or_else(|| Error::conflict("no-activation", "no activation waits for this device; begin one"))?;
        let given = tpm::Hash::Sha256.digest(&[secret.expose()]);
        verify_slices_are_equal(&given, &pending.secret)
            .map_err(|_| Error::untrusted("activation", "the secret is not the one that was wrapped"))?;
        Ok(pending)
    }

    /// The key that the TPM vouches for with its attestation key, as it stands on lists. The secret is its nonce: nobody knew
    /// it before this TPM opened it.
    pub(super) fn vouches_for(&self, secret: &Secret<Vec<u8>>, shown: &CertifiedKey) -> Result<String> {
        let bad = |error: tpm::Malformed| Error::invalid("certified", error.to_string());
        let spki = Public::parse(&shown.public.0).map_err(bad)?.spki();
        let attestation = Public::parse(&self.attestation).map_err(Error::internal)?;
        let sent = Certified {
            public: shown.public.0.clone(),
            statement: shown.attest.0.clone(),
            signature: shown.signature.0.clone(),
        };
        certified::verify(&attestation, secret.expose(), &spki, &sent)
            .map_err(|bad| Error::untrusted("certified-key", bad.to_string()))?;
        Ok(key_hash(&spki))
    }
}

/// Wraps a secret for the device's TPM.
///
/// # Errors
/// `Untrusted` where nothing vouches for the endorsement key that the tenant's policy takes, where its hardware is on the
/// deny list, or the keys are not what they must be; it is journaled.
pub async fn begin_activation(app: &App, ctx: &Ctx, shown: Endorsement) -> Result<Activation> {
    let (tenant, device) = own(ctx)?;
    let (made, pending) = match wrap(app, &tenant, &device, shown).await {
        Ok(wrapped) => wrapped,
        Err(Error::Untrusted { code, reason }) => {
            return Err(refused(app, ctx, &tenant, &device, code, &reason).await);
        }
        Err(error) => return Err(error),
    };
    let pending = serde_json::to_string(&pending).map_err(Error::internal)?;
    let now = app.now();
    app.write(&tenant, "begin activation", move |tx| {
        Box::pin(async move {
            let mut row = row_for_update(tx, &device, now).await?;
            row.pending = Some(pending);
            row.updated_at = now;
            Ok(tx.put_attestation(&row).await?)
        })
    })
    .await?;
    Ok(made)
}

/// A secret that only a TPM with both keys gives out, and what is kept of it.
pub(super) async fn wrap(
    app: &App,
    tenant: &TenantId,
    device: &DeviceId,
    shown: Endorsement,
) -> Result<(Activation, Pending)> {
    if shown.chain.len() > INTERMEDIATES {
        return Err(Error::invalid("chain", format!("{INTERMEDIATES} certificates at most")));
    }
    let key = Public::parse(&shown.public).map_err(|bad| Error::invalid("endorsement", bad.to_string()))?;
    let attestation =
        Public::parse(&shown.attestation).map_err(|bad| Error::invalid("attestation", bad.to_string()))?;
    tpm::judge_attestation_key(&attestation).map_err(|bad| Error::untrusted("attestation-key", bad.to_string()))?;
    let identity = hex(&endorsement::identity(&key));
    if deny_list::is_denied_hardware(app, tenant, &identity) {
        return Err(Error::untrusted("denied-hardware", "the hardware is on the deny list"));
    }
    let policy = identity_policy(app, tenant).await?;
    let anchor = vouched(app, tenant, device, &policy, (&key, &identity), &shown).await?;
    let mut secret = Secret::new(vec![0; 32]);
    app.rng().fill(secret.expose_mut());
    let made = credential::make(&key, &attestation.name(), &secret, app.rng().as_ref())
        .map_err(|bad| Error::untrusted("endorsement-key", bad.to_string()))?;
    let pending = Pending {
        identity,
        anchor: anchor.anchor,
        root: anchor.root,
        attestation: shown.attestation,
        secret: tpm::Hash::Sha256.digest(&[secret.expose()]),
        until: app.now().plus(limits::ATTESTATION_CHALLENGE_TTL),
    };
    Ok((Activation { credential: made.blob, secret: made.secret }, pending))
}

/// Takes the secret back, and the key that the TPM vouches for where one is shown; the certificate of the attestation key.
/// A wrong one uses the activation up.
///
/// # Errors
/// `Conflict` (`no-activation`) where none waits; `Untrusted` for a wrong secret (`activation`) or a statement that proves
/// nothing (`certified-key`).
pub async fn prove_activation(
    app: &App,
    ctx: &Ctx,
    secret: Secret<Vec<u8>>,
    shown: Option<&CertifiedKey>,
) -> Result<Proved> {
    let (tenant, device) = own(ctx)?;
    let now = app.now();
    let id = device.clone();
    let pending = app
        .write(&tenant, "take activation", move |tx| {
            Box::pin(async move {
                let mut row = row_for_update(tx, &id, now).await?;
                let pending = row.pending.take();
                tx.put_attestation(&row).await?;
                Ok(pending)
            })
        })
        .await?;
    let pending = Pending::open(pending, &secret, now)?;
    let key = shown.map(|shown| pending.vouches_for(&secret, shown)).transpose()?;
    let other = certify(app, &tenant, &device.to_string(), &pending, now).await?;
    let (ctx_in, certificate) = (ctx.clone(), other.der.clone());
    let certified_until = app
        .write(&tenant, "prove activation", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let mut row = row_for_update(tx, &device, now).await?;
                if row.identity.as_ref() != Some(&pending.identity) {
                    // Another TPM: what the one before it proved does not count for this one.
                    row = fleetward_store::AttestationRow { challenge: row.challenge, ..fresh(&device, now) };
                }
                row.identity = Some(pending.identity.clone());
                row.root = Some(pending.root);
                row.anchor = Some(pending.anchor.clone());
                row.attestation_key = Some(pending.attestation);
                row.key_certificate = Some(other.der.clone());
                row.updated_at = now;
                tx.put_attestation(&row).await?;
                tx.insert_other_certificate(&other).await?;
                let detail = json!({ "hardware": pending.identity, "anchor": pending.anchor });
                record(tx, &ctx_in.done(now, Action::AttestationActivated).device(&device).detail(detail)).await?;
                let Some(key) = key else { return Ok(None) };
                let entry = ctx_in.done(now, Action::KeyCertified).device(&device);
                introduction::keep(tx, &device, pending.identity, key, entry, now).await.map(Some)
            })
        })
        .await?;
    Ok(Proved { certificate: Some(certificate), certified_until })
}

fn fresh(device: &fleetward_base::DeviceId, now: Timestamp) -> fleetward_store::AttestationRow {
    fleetward_store::AttestationRow::new(device.clone(), now)
}

async fn certify(
    app: &App,
    tenant: &TenantId,
    device: &str,
    pending: &Pending,
    now: Timestamp,
) -> Result<OtherCertificateRow> {
    let key = Public::parse(&pending.attestation).map_err(Error::internal)?;
    let policy = identity_policy(app, tenant).await?;
    let validity = Validity {
        not_before: now.minus(policy.certificates.backdate()),
        not_after: now.plus(policy.certificates.life()),
    };
    let issuing = authority::issuing(app, tenant).await?;
    let serial = Serial::generate(app.rng().as_ref());
    let (owner, device, hardware) = (tenant.clone(), device.to_owned(), pending.identity.clone());
    let signing = issuing.sign(move |issuer| {
        attestation_key::issue(issuer, (owner.as_str(), device.as_str()), &hardware, &key.spki(), serial, validity)
    });
    let issued = signing.await?.map_err(Error::internal)?;
    Ok(other_row(OtherKind::AttestationKey, &issuing.certificate.fingerprint(), &issued, now))
}
