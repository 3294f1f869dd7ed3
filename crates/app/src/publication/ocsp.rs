//! Answers to OCSP requests.
//!
//! How a certificate stands is the registry's word. An answer without a nonce is kept in memory and given again for a
//! while; whatever is revoked empties that memory for its tenant, here at once and on other servers as they hear of it.
//! An answer with a nonce is for one asker alone and signed then and there, so that it is only given so often; beyond
//! that the asker is told to try later. Everything that goes wrong is an answer too (RFC 6960 §2.3).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_pki::Serial;
use fleetward_pki::crl::Reason;
use fleetward_pki::ocsp::{self, CertId, Refused, Request, Single, Standing};
use fleetward_store::{SystemTx, TenantTx};
use parking_lot::Mutex;

use super::{Ca, authority, responder};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::{App, Ctx};

/// How long answers of the installation's own authorities count.
const OWN_LIFE: Duration = Duration::from_secs(3600);
/// `thisUpdate` is this long ago, for askers whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(60);

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

#[derive(Clone)]
struct Kept {
    der: Arc<[u8]>,
    from: Timestamp,
    until: Timestamp,
    /// From here on another is signed.
    stale_at: Timestamp,
}

/// Answers of one authority: those of late, and those of before that somebody may yet ask for. Whoever asks after a whole
/// fleet pushes out what nobody asks for, and not what everybody does.
#[derive(Default)]
struct Shelf {
    recent: HashMap<Vec<u8>, Kept>,
    earlier: HashMap<Vec<u8>, Kept>,
}

impl Shelf {
    fn find(&mut self, id: &[u8]) -> Option<Kept> {
        if let Some(kept) = self.recent.get(id) {
            return Some(kept.clone());
        }
        let (id, kept) = self.earlier.remove_entry(id)?;
        self.keep(id, kept.clone());
        Some(kept)
    }

    fn keep(&mut self, id: Vec<u8>, kept: Kept) {
        if self.recent.len() >= limits::OCSP_ANSWERS_KEPT / 2 {
            self.earlier = std::mem::take(&mut self.recent);
        }
        self.recent.insert(id, kept);
    }

    fn len(&self) -> usize {
        self.recent.len() + self.earlier.len()
    }
}

/// Answers that are kept, and the allowance of those that are not.
#[derive(Default)]
pub(crate) struct Answers {
    kept: Mutex<HashMap<String, Shelf>>,
    /// Grows when something is revoked: an answer that was on its way then is not kept.
    epoch: AtomicU64,
    allowance: Mutex<Duration>,
}

impl Answers {
    /// Something of this tenant was revoked, or without one an authority below the installation's own.
    pub(crate) fn forget(&self, authorities: impl Iterator<Item = Arc<Ca>>, tenant: Option<&TenantId>) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let mut kept = self.kept.lock();
        for ca in authorities.filter(|ca| ca.tenant.as_ref() == tenant) {
            kept.remove(&ca.fingerprint);
        }
    }

    /// How many of this tenant's are kept.
    pub(crate) fn kept(&self, authorities: impl Iterator<Item = Arc<Ca>>, tenant: &TenantId) -> usize {
        let kept = self.kept.lock();
        let own = authorities.filter(|ca| ca.tenant.as_ref() == Some(tenant));
        own.filter_map(|ca| kept.get(&ca.fingerprint)).map(Shelf::len).sum()
    }

    fn find(&self, ca: &Ca, id: &[u8], now: Timestamp) -> Option<Kept> {
        let mut kept = self.kept.lock();
        kept.get_mut(&ca.fingerprint)?.find(id).filter(|kept| kept.from <= now && now < kept.stale_at)
    }

    fn keep(&self, ca: &Ca, id: Vec<u8>, answer: Kept, epoch: u64) {
        let mut kept = self.kept.lock();
        if self.epoch.load(Ordering::SeqCst) != epoch {
            return;
        }
        kept.entry(ca.fingerprint.clone()).or_default().keep(id, answer);
    }

    /// Takes from the allowance of live signatures (one moment says all, as in the enrolment gate).
    fn may_sign(&self, now: Duration) -> bool {
        let cost = Duration::from_secs(1) / limits::OCSP_LIVE_PER_SECOND;
        let mut until = self.allowance.lock();
        let free = Duration::max(*until, now) + cost;
        let within = free <= now + Duration::from_secs(1);
        if within {
            *until = free;
        }
        within
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
    let alone = match (request.certificates.as_slice(), &request.nonce) {
        ([one], None) => Some(one.der.clone()),
        _ => None,
    };
    if let Some(kept) = alone.as_ref().and_then(|id| app.publication().answers.find(&ca, id, now)) {
        return Ok(Answer { der: kept.der, counts: Some((kept.from, kept.until)) });
    }
    if alone.is_none() && !app.publication().answers.may_sign(app.clock().monotonic()) {
        return Err(Error::TooMany { what: "OCSP requests with a nonce", retry_after: Duration::from_secs(1) });
    }
    let epoch = app.publication().answers.epoch.load(Ordering::SeqCst);
    let life = match &ca.tenant {
        Some(tenant) => identity_policy(app, tenant).await?.revocation.ocsp_life(),
        None => OWN_LIFE,
    };
    let standings = standings(app, &ca, &request.certificates).await?;
    let responder = responder::of(app, &ca).await?;
    let (from, until) = (now.minus(BACKDATE), Timestamp::min(now.plus(life), responder.ends()));
    let singles: Vec<Single<'_>> =
        request.certificates.iter().zip(standings).map(|(id, standing)| Single { id: &id.der, standing }).collect();
    let der = ocsp::answer(&singles, &responder.responder(), (from, until), request.nonce.as_deref());
    let der: Arc<[u8]> = der.map_err(Error::internal)?.into();
    if let Some(id) = alone {
        let kept = Kept { der: Arc::clone(&der), from, until, stale_at: now.plus(life / 2) };
        app.publication().answers.keep(&ca, id, kept, epoch);
        return Ok(Answer { der, counts: Some((from, until)) });
    }
    Ok(Answer { der, counts: None })
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
    Ok(app.publication().answers.kept.lock().values().map(Shelf::len).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_while_a_fleet_goes_by() {
        let moment = Timestamp::from_secs(1_900_000_000);
        let kept = Kept { der: Arc::from([1_u8].as_slice()), from: moment, until: moment, stale_at: moment };
        let mut shelf = Shelf::default();
        shelf.keep(b"asked for".to_vec(), kept.clone());
        for number in 0..3 * limits::OCSP_ANSWERS_KEPT {
            shelf.keep(number.to_be_bytes().to_vec(), kept.clone());
            assert!(shelf.len() <= limits::OCSP_ANSWERS_KEPT);
            if number % 1000 == 0 {
                assert!(shelf.find(b"asked for").is_some(), "after {number}");
            }
        }
        assert!(shelf.find(&0_usize.to_be_bytes()).is_none());
    }
}
