//! Who has been told what: the promises of the broker, and what came of them.

use std::collections::BTreeMap;

/// What became of a message, as far as its publisher knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Sent, and not answered yet.
    Open,
    Accepted,
    /// With a code, or with its session: nobody promises anything.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Message {
    from: usize,
    topic: String,
    qos: u8,
    pub(crate) fate: Fate,
    /// A commit failed while it was open (`docs/deviations.md`, MQTT 5 §4.3.3).
    doubtful: bool,
    /// Sessions that get it if it is accepted, by party, in this life of theirs.
    due: BTreeMap<usize, u32>,
    /// Those that had asked for it when it was first sent: to them it comes in order. Who asks later may have it when it is sent
    /// again, behind newer ones.
    meant: BTreeMap<usize, u32>,
    /// How often each has passed it on.
    had: BTreeMap<(usize, u32), u32>,
}

/// A last will, and whether it has to be published.
#[derive(Debug)]
pub(crate) struct Will {
    pub(crate) due: Due,
    /// It goes with the session, if that goes on before the delay has passed.
    pub(crate) delayed: bool,
    pub(crate) seen: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Open,
    Must,
    Never,
    May,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) messages: Vec<Message>,
    pub(crate) wills: Vec<Will>,
    /// Of each topic with retained messages, what was said of it, by message; empty payloads clear it.
    pub(crate) retained: BTreeMap<String, Vec<(usize, bool)>>,
    /// By receiver, its life, sender and topic: the newest message that has come.
    newest: BTreeMap<(usize, u32, usize, String), usize>,
}

impl Ledger {
    pub(crate) fn send(&mut self, from: usize, topic: &str, qos: u8, due: BTreeMap<usize, u32>) -> usize {
        let (fate, had) = (if qos == 0 { Fate::Gone } else { Fate::Open }, BTreeMap::new());
        let meant = due.clone();
        self.messages.push(Message { from, topic: topic.to_owned(), qos, fate, doubtful: false, due, meant, had });
        self.messages.len() - 1
    }

    pub(crate) fn settle(&mut self, message: usize, fate: Fate) {
        self.messages[message].fate = fate;
    }

    pub(crate) fn doubt(&mut self) {
        self.messages
            .iter_mut()
            .filter(|message| message.fate == Fate::Open)
            .for_each(|message| message.doubtful = true);
    }

    /// Nothing is owed to this session any more: it has ended, or has taken a subscription back.
    pub(crate) fn release(&mut self, party: usize) {
        self.messages.iter_mut().for_each(|message| message.due.retain(|due, _| *due != party));
    }

    /// A client passes a message on: in order (§4.6), and with QoS 2 once. `kept`: its session outlives its connections.
    pub(crate) fn receive(&mut self, party: usize, life: u32, message: usize, qos: u8, kept: bool) {
        let of = &mut self.messages[message];
        let had = of.had.entry((party, life)).or_default();
        *had += 1;
        let had = *had;
        let of = &self.messages[message];
        let once = of.qos == 2 && qos == 2 && (kept || !of.doubtful);
        assert!(had == 1 || !once, "message {message} came {had} times to {party}: {of:?}");
        if had == 1 && !of.doubtful && of.meant.get(&party) == Some(&life) {
            let newest = self.newest.entry((party, life, of.from, of.topic.clone())).or_insert(message);
            assert!(message >= *newest, "message {message} came to {party} after {newest}: {of:?}");
            *newest = message;
        }
    }

    /// At the end, when nobody has anything to say: all promises are kept. `lives` are those of the parties.
    pub(crate) fn close(&self, lives: &[u32]) {
        for (n, message) in self.messages.iter().enumerate() {
            assert_ne!(message.fate, Fate::Open, "message {n} was never answered: {message:?}");
            let due = message.due.iter().filter(|(party, life)| lives[**party] == **life);
            for (party, life) in due.filter(|_| message.fate == Fate::Accepted) {
                assert!(
                    message.had.contains_key(&(*party, *life)),
                    "{n} was accepted and {party} has lost it: {message:?}"
                );
            }
        }
        for (n, will) in self.wills.iter().enumerate() {
            match will.due {
                Due::Must => assert!(will.seen > 0, "will {n} was not published"),
                Due::Never => assert_eq!(will.seen, 0, "will {n} was published, though its client had taken leave"),
                Due::Open | Due::May => {}
            }
        }
    }

    /// What a new subscriber has to get of a topic: None where it is not known, Some(None) for nothing.
    pub(crate) fn retained_now(&self, topic: &str) -> Option<Option<usize>> {
        let Some((last, clears)) = self.retained.get(topic).and_then(|said| said.last()) else { return Some(None) };
        let known = self.messages[*last].fate == Fate::Accepted;
        known.then_some((!clears).then_some(*last))
    }
}
