//! What a commit takes from a session, and what becomes of that when it is through.

use std::sync::Arc;

use super::{Pending, PendingChunk, Session, Subscription, WillChange};
use crate::store::{Chunk, Op};

/// What the committer took from a session, to be put back if the commit fails.
pub(crate) struct Taken {
    pub(crate) session: Arc<Session>,
    pending: Pending,
    /// Bytes of records that it had, for the committer's account.
    pub(crate) bytes: usize,
    last_seq: u64,
}

impl Session {
    /// Takes what waits and appends its ops.
    pub(crate) fn drain(self: Arc<Self>, ops: &mut Vec<Op>) -> Option<Taken> {
        let mut state = self.lock();
        state.dirty = false;
        let mut pending = *state.pending.take()?;
        let (tenant, client) = (&self.tenant, &self.client);
        if pending.delete {
            ops.push(Op::DeleteSession { tenant: tenant.clone(), client: client.clone() });
        }
        if pending.save {
            ops.push(Op::SaveSession {
                tenant: tenant.clone(),
                client: client.clone(),
                expiry_secs: state.expiry_secs,
                disconnected_at: state.disconnected_at,
                protocol: state.protocol,
                created_at: state.created_at,
                acked_seq: state.acked_seq,
            });
        }
        ops.extend(pending.wills.iter().cloned().map(|change| match change {
            WillChange::Keep(will) => Op::KeepWill { tenant: tenant.clone(), client: client.clone(), will },
            WillChange::Drop(will) => Op::DropWill { tenant: tenant.clone(), client: client.clone(), will },
        }));
        self.subscription_ops(&pending, ops);
        if pending.exchanges {
            let exchanges = state.exchanges.as_ref().map(|e| e.pack()).unwrap_or_default();
            ops.push(Op::SaveExchanges { tenant: tenant.clone(), client: client.clone(), exchanges });
        }
        let acked_seq = state.acked_seq;
        drop(state);
        let (mut bytes, mut last_seq) = (0, 0);
        for chunk in std::mem::take(&mut pending.chunks) {
            bytes += chunk.packed.len() - 1;
            last_seq = chunk.last_seq;
            // What the client has acknowledged in the meantime need not be written.
            if chunk.last_seq > acked_seq {
                let PendingChunk { first_seq, last_seq, packed } = chunk;
                let chunk = Chunk { first_seq, last_seq, packed: packed.into() };
                ops.push(Op::Enqueue { tenant: tenant.clone(), client: client.clone(), chunk });
            }
        }
        if pending.advance {
            ops.push(Op::Advance { tenant: tenant.clone(), client: client.clone(), acked_seq });
        }
        Some(Taken { session: self, pending, bytes, last_seq })
    }

    fn subscription_ops(&self, pending: &Pending, ops: &mut Vec<Op>) {
        let (tenant, client) = (&self.tenant, &self.client);
        for (filter, wish) in &pending.subscriptions {
            match wish {
                Some(wish) => {
                    let stored = Subscription { filter: filter.clone(), wish: *wish }.to_stored();
                    if let Some(Op::PutSubscriptions { subscriptions, tenant: t, client: c }) = ops.last_mut()
                        && (&*t, &*c) == (tenant, client)
                    {
                        subscriptions.push(stored);
                    } else {
                        let subscriptions = vec![stored];
                        ops.push(Op::PutSubscriptions {
                            tenant: tenant.clone(),
                            client: client.clone(),
                            subscriptions,
                        });
                    }
                }
                None => {
                    let filters = vec![filter.to_string()];
                    ops.push(Op::RemoveSubscriptions { tenant: tenant.clone(), client: client.clone(), filters });
                }
            }
        }
    }
}

impl Taken {
    /// The session whose end it holds.
    pub(crate) fn ended(&self) -> Option<&Session> {
        self.pending.delete.then_some(&*self.session)
    }

    /// The commit is through, either way: the connection may read on.
    pub(crate) fn settle(self, stored: bool) -> Option<Arc<Session>> {
        let mut state = self.session.lock();
        state.committed_seq = state.committed_seq.max(self.last_seq);
        if state.awaits_commit
            && let Some(link) = &state.link
        {
            link.wake();
        }
        if stored {
            let ends = state.pending.as_ref().is_some_and(|pending| pending.delete);
            state.stored |= self.pending.save && state.durable && !ends;
            return None;
        }
        // The messages are refused to their publishers, and those that have not been sent are not sent any more; everything
        // else is tried again.
        state.forget_refused(self.last_seq);
        state.queued_bytes = state.queued_bytes.saturating_sub(u64::try_from(self.bytes).unwrap_or(0));
        let mut old = self.pending;
        if let Some(exchanges) = &mut state.exchanges {
            exchanges.forget_all_received(&old.received);
        }
        let new = state.pending.get_or_insert_default();
        if new.delete {
            old = Pending { delete: true, wills: old.wills, ..Pending::default() };
        }
        new.delete |= old.delete;
        new.save |= old.save;
        new.advance |= old.advance;
        new.exchanges |= old.exchanges;
        old.subscriptions.append(&mut new.subscriptions);
        new.subscriptions = old.subscriptions;
        old.wills.append(&mut new.wills);
        new.wills = old.wills;
        let again = new.delete
            || new.save
            || new.advance
            || new.exchanges
            || !new.subscriptions.is_empty()
            || !new.wills.is_empty();
        let register = again && !state.dirty;
        state.dirty |= again;
        drop(state);
        register.then_some(self.session)
    }
}
