//! Servers on the same database: each says that it is there, and what one that is gone left is taken over by another.
//!
//! A server counts beats in a row. Whoever sees a count stand still for `SERVER_SILENCE`, by its own clock, takes the server for
//! gone and makes the last wills of its connections its own. One that was only slow finds its row gone with its next beat, and
//! keeps the wills of the connections that it still has anew. SQLite has one server, which finds all wills when it starts.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use fleetward_base::{RequestId, limits};
use fleetward_store::{ServerRow, StoreError};
use parking_lot::Mutex;

use crate::App;
use crate::error::{Error, Result};
use crate::links::DeviceLinks;
use crate::mqtt_sessions::stored_will;

/// What this server knows of itself and of the others.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    id: OnceLock<String>,
    /// The count of each other one, and when it came.
    heard: Mutex<HashMap<String, (u64, Duration)>>,
    /// When this one looked last.
    looked: Mutex<Option<Duration>>,
}

/// A server that has not looked for so long was away itself, or the database was: it knows of nobody who is silent.
const AWAY: Duration = limits::SERVER_SILENCE.checked_div(2).expect("two is not zero");

impl App {
    /// What this process is called among the servers of its database. Another start is another server.
    pub(crate) fn server_id(&self) -> &str {
        let generate = || RequestId::generate(self.clock().as_ref(), self.rng().as_ref()).to_string();
        self.servers().id.get_or_init(generate)
    }
}

/// One beat, and a look at the others; how many wills were taken over.
///
/// # Errors
/// Where the store does not answer.
pub async fn tick(app: &App) -> Result<u64> {
    let Some(links) = app.links().map(AsRef::as_ref).filter(|_| app.store().is_shared()) else { return Ok(0) };
    app.store().came_alone().await?;
    let all = beat(app, links).await?;
    let mut taken = 0;
    for ServerRow { id, beat } in silent(app, all) {
        // One that beats again meanwhile sees that it was missed; another server that looks too does not come past this. Should
        // this one be gone before it is done, the count still stands.
        if !at_rest(app, &id, beat, false).await? {
            continue;
        }
        let wills = take_over(app, links, &id).await?;
        at_rest(app, &id, 0, true).await?;
        tracing::info!(server = id, wills, "a server is gone; the last wills that it left are here now");
        taken += wills;
    }
    Ok(taken)
}

/// One beat; the servers that there are.
async fn beat(app: &App, links: &dyn DeviceLinks) -> Result<Vec<ServerRow>> {
    let id = app.server_id().to_owned();
    let (beat, all) = app
        .store()
        .system_write("beat", move |tx| {
            Box::pin(async move {
                let tx = tx.installation().await?;
                Ok::<_, Error>((tx.beat_server(&id).await?, tx.servers().await?))
            })
        })
        .await?;
    if beat == 1 {
        tracing::warn!("another server took this one for gone; the last wills of its connections are kept anew");
        links.keep_wills();
    }
    Ok(all)
}

/// Notes that a server whose count stands at `beat` is missed, or that it can be forgotten; whether it still stands there.
async fn at_rest(app: &App, id: &str, beat: u64, forget: bool) -> Result<bool> {
    let id = id.to_owned();
    let noted = app.store().system_write("a server is gone", move |tx| {
        Box::pin(async move {
            let tx = tx.installation().await?;
            if forget { tx.remove_server(&id, beat).await } else { tx.miss_server(&id, beat).await }
        })
    });
    noted.await.map_err(|error: StoreError| error.into())
}

/// Those whose count has not changed for too long.
fn silent(app: &App, all: Vec<ServerRow>) -> Vec<ServerRow> {
    let now = app.clock().monotonic();
    let away = app.servers().looked.lock().replace(now).is_some_and(|last| now.saturating_sub(last) > AWAY);
    let mut heard = app.servers().heard.lock();
    heard.retain(|id, _| all.iter().any(|row| row.id == *id));
    if away {
        heard.values_mut().for_each(|(_, at)| *at = now);
    }
    let mut silent = Vec::new();
    for row in all.into_iter().filter(|row| row.id != app.server_id()) {
        let known = heard.entry(row.id.clone()).or_insert((row.beat, now));
        if known.0 != row.beat {
            *known = (row.beat, now);
        } else if now.saturating_sub(known.1) >= limits::SERVER_SILENCE {
            silent.push(row);
        }
    }
    silent
}

async fn take_over(app: &App, links: &dyn DeviceLinks, gone: &str) -> Result<u64> {
    let mut taken = 0;
    loop {
        let (from, to) = (gone.to_owned(), app.server_id().to_owned());
        let wills = app
            .store()
            .system_write("take over wills", move |tx| {
                Box::pin(async move { tx.take_wills(&from, &to, limits::WILLS_TAKEN_AT_ONCE).await })
            })
            .await
            .map_err(|error: StoreError| Error::from(error))?;
        let count = wills.len();
        taken += count as u64;
        links.adopt_wills(wills.into_iter().filter_map(stored_will).collect()).await;
        if count < limits::WILLS_TAKEN_AT_ONCE as usize {
            return Ok(taken);
        }
        // There may be many, and this one is not to be taken for gone over them.
        beat(app, links).await?;
    }
}
