//! Answers to OCSP requests.
//!
//! How a certificate stands is the registry's word. An answer without a nonce is kept ([`super::answers`]) and given
//! again for a while; [`sign_ahead`] signs the next one before it is asked for. An answer with a nonce is for one asker
//! alone and signed then and there, so that it is only given so often; beyond that the asker is told to try later.
//! Everything that goes wrong is an answer too (RFC 6960 §2.3).

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::Timestamp;
use fleetward_core::access::Permission;
use fleetward_pki::Serial;
use fleetward_pki::crl::Reason;
use fleetward_pki::ocsp::{self, CertId, Refused, Request, Single, Standing};
use fleetward_store::{SystemTx, TenantTx};

use super::answers::Kept;
use super::{Ca, authority, responder};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::{App, Ctx, reconcile};

/// How long answers of the installation's own authorities count.
const OWN_LIFE: Duration = Duration::from_secs(3600);
/// `thisUpdate` is this long ago, for askers whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(60);
/// An answer that is asked for is followed by the next one this long before it would be signed at a question.
const AHEAD: Duration = Duration::from_secs(30);

/// What is sent back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub der: Arc<[u8]>,
    /// From when to when it counts, where it may be kept by a cache.
    pub counts: Option<(Timestamp, Timestamp)>,
}

impl Answer {
    fn refused(why: Refused) -> Self {
        Self { der: why.response().into(), counts: None }
    }
}

/// Answers a request that was sent to the authority of this name.
pub async fn answer(app: &App, name: &str, request: &[u8]) -> Answer {
    let Ok(request) = Request::parse(request) else { return Answer::refused(Refused::MalformedRequest) };
    match respond(app, name, request).await {
        Ok(answer) => answer,
        Err(Error::NotFound { .. }) => Answer::refused(Refused::Unauthorized),
        Err(Error::TooMany { .. } | Error::Unavailable { .. }) => Answer::refused(Refused::TryLater),
        Err(error) => {
            tracing::error!(%error, "an OCSP request could not be answered");
            Answer::refused(Refused::InternalError)
        }
    }
}

async fn respond(app: &App, name: &str, request: Request) -> Result<Answer> {
    let ca = authority(app, name).await?;
    if !request.certificates.iter().any(|id| ca.names.issued(id)) {
        return Ok(Answer::refused(Refused::Unauthorized));
    }
    let now = app.now();
    let answers = &app.publication().answers;
    if let ([one], None) = (request.certificates.as_slice(), &request.nonce) {
        let kept = match answers.find(&ca, &one.der, now) {
            Some(kept) => Some(kept),
            None => sign_each(app, &ca, request.certificates, &[true]).await?.pop(),
        };
        let kept = kept.ok_or_else(|| Error::internal("an answer was signed and is not there"))?;
        return Ok(Answer { der: kept.der, counts: Some((kept.from, kept.until)) });
    }
    if !answers.may_sign(app.clock().monotonic()) {
        return Err(Error::TooMany { what: "OCSP requests with a nonce", retry_after: Duration::from_secs(1) });
    }
    let standings = standings(app, &ca, &request.certificates).await?;
    let responder = responder::of(app, &ca).await?;
    let span = (now.minus(BACKDATE), Timestamp::min(now.plus(life(app, &ca).await?), responder.ends()));
    let singles: Vec<Single<'_>> =
        request.certificates.iter().zip(standings).map(|(id, standing)| Single { id: &id.der, standing }).collect();
    let der = ocsp::answer(&singles, &responder.responder(), span, request.nonce.as_deref());
    Ok(Answer { der: der.map_err(Error::internal)?.into(), counts: None })
}

/// How long an answer of this authority counts.
async fn life(app: &App, ca: &Ca) -> Result<Duration> {
    match &ca.tenant {
        Some(tenant) => Ok(identity_policy(app, tenant).await?.revocation.ocsp_life()),
        None => Ok(OWN_LIFE),
    }
}

/// Signs an answer on each of these certificates by itself, and keeps them; each with whether another is to follow.
async fn sign_each(app: &App, ca: &Arc<Ca>, ids: Vec<CertId>, wanted: &[bool]) -> Result<Vec<Kept>> {
    let answers = &app.publication().answers;
    let (epoch, now) = (answers.epoch(), app.now());
    let life = life(app, ca).await?;
    let standings = standings(app, ca, &ids).await?;
    let responder = responder::of(app, ca).await?;
    let (from, until) = (now.minus(BACKDATE), Timestamp::min(now.plus(life), responder.ends()));
    let mut signed = Vec::with_capacity(ids.len());
    for ((id, standing), wanted) in ids.into_iter().zip(standings).zip(wanted) {
        let single = Single { id: &id.der, standing };
        let der = ocsp::answer(&[single], &responder.responder(), (from, until), None).map_err(Error::internal)?;
        let kept = Kept { der: der.into(), from, until, stale_at: now.plus(life / 2), wanted: *wanted };
        answers.keep(ca, id.der, kept.clone(), epoch);
        signed.push(kept);
        // Others have their turn between two signatures.
        tokio::task::yield_now().await;
    }
    Ok(signed)
}

/// Signs what is due: answers on what was just revoked, on what was asked for before something was, and on what is asked
/// for and ends soon. At most `limits::OCSP_AHEAD_PER_LOOK`; how many it signed.
///
/// # Errors
/// `Unavailable` while the keys of its tenant are disabled; then, as where there is no key any more, nothing is lost: who
/// asks has it signed.
pub async fn sign_ahead(app: &App) -> Result<usize> {
    let mut signed = 0;
    for (ca, ids) in app.publication().answers.due(&app.publication().all(), app.now().plus(AHEAD)) {
        let ids = ids.iter().filter_map(|(id, wanted)| Some((CertId::parse(id).ok()?, *wanted)));
        let (ids, wanted): (Vec<_>, Vec<_>) = ids.unzip();
        let outcome = match sign_each(app, &ca, ids, &wanted).await {
            Err(Error::NotFound { what: "authority" }) => Ok(0),
            outcome => outcome.map(|signed| signed.len()),
        };
        signed += reconcile::or_later(app, "OCSP answers", ca.tenant.as_ref(), outcome);
    }
    Ok(signed)
}

async fn standings(app: &App, ca: &Arc<Ca>, ids: &[CertId]) -> Result<Vec<Standing>> {
    let Some(tenant) = &ca.tenant else { return own_standings(app, ca, ids).await };
    let serials: Vec<Option<String>> =
        ids.iter().map(|id| ca.names.issued(id).then(|| id.serial.to_string())).collect();
    let fingerprint = ca.fingerprint.clone();
    app.read(tenant, "ocsp", move |tx: &mut TenantTx| {
        Box::pin(async move {
            let mut standings = Vec::with_capacity(serials.len());
            for serial in serials {
                let Some(serial) = serial else {
                    standings.push(Standing::Unknown);
                    continue;
                };
                let row = tx.certificate(&serial).await?.filter(|row| row.authority == fingerprint);
                standings.push(match row {
                    Some(row) => standing(row.revoked_at, row.reason),
                    None => other_standing(tx, &fingerprint, &serial).await?,
                });
            }
            Ok(standings)
        })
    })
    .await
}

fn standing(revoked_at: Option<Timestamp>, reason: Option<String>) -> Standing {
    match revoked_at {
        Some(at) => Standing::Revoked { at, reason: Reason::of_words(reason.as_deref().unwrap_or_default()) },
        None => Standing::Good,
    }
}

/// Of a certificate that is no device's. One that waits for its device is nobody's, and as good as unknown.
async fn other_standing(tx: &mut TenantTx, authority: &str, serial: &str) -> Result<Standing> {
    let row = tx.other_certificate(serial).await?.filter(|row| row.authority == authority);
    Ok(row.map_or(Standing::Unknown, |row| standing(row.revoked_at, row.reason)))
}

/// Of what the installation's own authorities signed.
async fn own_standings(app: &App, ca: &Arc<Ca>, ids: &[CertId]) -> Result<Vec<Standing>> {
    let mut standings = Vec::with_capacity(ids.len());
    for id in ids {
        standings.push(if ca.names.issued(id) { own_standing(app, ca, &id.serial).await? } else { Standing::Unknown });
    }
    Ok(standings)
}

/// How one of them stands: an authority below, or what has a row in the installation, as a server's certificate has.
pub(super) async fn own_standing(app: &App, ca: &Arc<Ca>, serial: &Serial) -> Result<Standing> {
    let known = app.publication().all();
    let below = known
        .iter()
        .find(|other| other.certificate.serial == *serial && other.certificate.issuer == ca.certificate.subject)
        .map(|other| other.fingerprint.clone());
    let (authority, serial) = (ca.fingerprint.clone(), serial.to_string());
    app.store()
        .system_read("own standing", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let Some(below) = below else {
                    return other_standing(tx.installation().await?, &authority, &serial).await;
                };
                let revoked = tx.revoked_authorities().await?.into_iter().find(|of| of.row.fingerprint == below);
                Ok::<_, Error>(match revoked {
                    Some(of) => standing(Some(of.row.revoked_at), of.row.reason),
                    None => Standing::Good,
                })
            })
        })
        .await
}

/// How many answers are kept now, for whoever looks after the server.
///
/// # Errors
/// `Denied`.
pub fn kept(app: &App, ctx: &Ctx) -> Result<usize> {
    ctx.allow_installation(Permission::SystemRead)?;
    Ok(app.publication().answers.all_kept())
}
