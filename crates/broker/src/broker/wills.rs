//! Wills of connections that are not here: those that a crash of this server left, and those of a server that is gone.

use std::sync::Arc;

use super::{Broker, Inner};
use crate::session::{LastWill, Session, WillChange};
use crate::store::StoredWill;

impl Inner {
    /// Publishes a will when its moment comes. Whose it was is asked first: rights may have gone since. `all_known`: a session
    /// that is not known here ended with its connection; otherwise it may be another server's, and the delay counts.
    pub(super) async fn adopt_will(&self, stored: StoredWill, all_known: bool) {
        let StoredWill { tenant, client, will } = stored;
        let Some(will) = LastWill::unpack(&will) else {
            tracing::warn!(%tenant, %client, "a will that nobody can read is left out");
            return;
        };
        let Ok(owner) = self.hooks.will_owner(&tenant, &client, &will.topic, will.retain).await else {
            // It stays in the store, for whoever looks there next: this server when it starts again, or another one after it.
            return;
        };
        let space = self.space(&tenant);
        let now = self.clock.now();
        let mut sessions = space.sessions.lock();
        let unknown = || {
            let session = Session::ended(tenant.clone(), client.clone(), now);
            if !all_known {
                session.lock().expiry_secs = will.delay_secs;
            }
            session
        };
        let session = sessions.entry(client.clone()).or_insert_with(unknown).clone();
        let mut state = session.lock();
        drop(sessions);
        if state.link.is_some() {
            // It has come to this server, without a will of its own. Its session goes on: §3.1.2.5.
            let due = will.delay_secs == 0 && owner.is_some();
            if !due {
                session.change(&mut state, &self.committer, |p| p.wills.push(WillChange::Drop(will.pack())));
            }
            drop(state);
            if due {
                self.publish_will(&space, &session, &will);
            }
            return;
        }
        match owner {
            Some(owner) => {
                state.principal = Some(owner);
                state.will = Some(Box::new(will));
            }
            None => session.change(&mut state, &self.committer, |p| p.wills.push(WillChange::Drop(will.pack()))),
        }
        self.arm(&session, &mut state);
    }
}

impl Broker {
    /// Takes over wills of connections to a server that is gone: they are this one's in the store.
    pub async fn adopt_wills(&self, wills: Vec<StoredWill>) {
        for will in wills {
            self.inner.adopt_will(will, false).await;
        }
        self.inner.committer.want(None);
    }

    /// Keeps the wills of all connections anew: another server took this one for gone.
    pub fn keep_wills(&self) {
        for space in self.inner.all_spaces() {
            let sessions: Vec<Arc<Session>> = space.sessions.lock().values().cloned().collect();
            for session in sessions {
                let mut state = session.lock();
                if let Some(kept) = state.will.as_ref().map(|will| will.pack()) {
                    session.change(&mut state, &self.inner.committer, |p| p.wills.push(WillChange::Keep(kept)));
                }
            }
        }
        self.inner.committer.want(None);
    }
}
