//! A client that does as the standard has it: it keeps its half of QoS 1 and 2 as long as its session, sends again what was
//! not answered, acknowledges in order, and notices what the server may not do.

use std::collections::{BTreeMap, VecDeque};

use super::ledger::{Due, Fate, Ledger};
use crate::client::{Client, Got, Said, packet, publish_with};

/// Numbers from here on are wills, and the last one is an empty message.
const OTHERS: usize = 1 << 40;

/// What a party believes of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    None,
    Kept,
    /// An answer is missing, or its time may be over.
    Unsure,
}

/// A message of its own that is not done with.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    id: u16,
    message: usize,
    qos: u8,
    topic: String,
    retain: bool,
    payload: Vec<u8>,
    released: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// The QoS that a SUBACK has granted, and nothing has been said of it since.
    pub(crate) sure: Option<u8>,
}

#[derive(Debug)]
pub(crate) enum Asked {
    Subscribe(&'static str, u8),
    Unsubscribe(&'static str),
}

impl Asked {
    fn filter(&self) -> &'static str {
        match self {
            Self::Subscribe(filter, _) | Self::Unsubscribe(filter) => filter,
        }
    }
}

pub(crate) struct Party {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) v5: bool,
    /// Its sessions outlive their connections.
    pub(crate) kept: bool,
    /// This one does: in 3.1.1 a clean session does not.
    pub(crate) lasts: bool,
    pub(crate) client: Option<Client>,
    pub(crate) window: usize,
    pub(crate) session: Session,
    /// Counts its sessions.
    pub(crate) life: u32,
    pub(crate) filters: BTreeMap<&'static str, Want>,
    pub(crate) will: Option<usize>,
    sent: VecDeque<Sent>,
    next_id: u16,
    asked: BTreeMap<u16, Asked>,
    /// QoS 2: what it has, and the server has not released.
    held: BTreeMap<u16, usize>,
    /// Of this connection: messages that are not finished, and acknowledgements that it owes.
    open: BTreeMap<u16, usize>,
    owed: VecDeque<(u8, u16)>,
}

impl Party {
    pub(crate) fn new(index: usize, v5: bool, kept: bool) -> Self {
        Self {
            index,
            name: format!("p{index}"),
            v5,
            kept,
            lasts: kept,
            client: None,
            window: 0,
            session: Session::None,
            life: 0,
            filters: BTreeMap::new(),
            will: None,
            sent: VecDeque::new(),
            next_id: 1,
            asked: BTreeMap::new(),
            held: BTreeMap::new(),
            open: BTreeMap::new(),
            owed: VecDeque::new(),
        }
    }

    pub(crate) fn room(&self) -> usize {
        20usize.saturating_sub(self.sent.len())
    }

    pub(crate) fn done(&self) -> bool {
        self.sent.is_empty()
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        let Some(client) = &mut self.client else { return };
        let saying = tokio::io::AsyncWriteExt::write_all(&mut client.stream, bytes);
        // Nobody may be there to listen; the next look at the connection tells.
        let _heard = tokio::time::timeout(std::time::Duration::from_millis(20), saying).await;
    }

    /// The connection is over. Its will is `due` now, unless it was settled before.
    pub(crate) fn part(&mut self, ledger: &mut Ledger, due: Due) {
        let ends = self.client.take().is_some() && !self.lasts;
        self.open.clear();
        self.owed.clear();
        self.asked.clear();
        if let Some(will) = self.will.take().map(|will| &mut ledger.wills[will])
            && will.due == Due::Open
        {
            will.due = if will.delayed && due == Due::Must { Due::May } else { due };
        }
        if ends {
            self.begin_anew(ledger);
            self.session = Session::None;
        }
    }

    /// There is no session, or there was none: nothing of the last one counts.
    pub(crate) fn begin_anew(&mut self, ledger: &mut Ledger) {
        self.life += 1;
        self.held.clear();
        self.filters.clear();
        ledger.release(self.index);
        for sent in self.sent.drain(..).filter(|sent| !sent.released) {
            ledger.settle(sent.message, Fate::Gone);
        }
    }

    /// Sends again what was not answered, in order (§4.4).
    pub(crate) async fn send_again(&mut self) {
        let bytes: Vec<u8> = self
            .sent
            .iter()
            .flat_map(|sent| if sent.released { release(sent.id) } else { self.publication(sent, true) })
            .collect();
        self.say(&bytes).await;
    }

    fn publication(&self, sent: &Sent, dup: bool) -> Vec<u8> {
        let first = 0x30 | sent.qos << 1 | u8::from(sent.retain) | u8::from(dup) << 3;
        publish_with(self.v5, first, sent.id, &sent.topic, &[], &sent.payload)
    }

    pub(crate) async fn publish(&mut self, message: usize, topic: &str, qos: u8, retain: bool, empty: bool) {
        let id = if qos == 0 { 0 } else { self.next_id };
        let payload = if empty { Vec::new() } else { (message as u32).to_be_bytes().to_vec() };
        let sent = Sent { id, message, qos, topic: topic.to_owned(), retain, payload, released: false };
        let bytes = self.publication(&sent, false);
        if qos > 0 {
            // Above them are those of subscriptions.
            self.next_id = self.next_id % 50_000 + 1;
            self.sent.push_back(sent);
        }
        self.say(&bytes).await;
    }

    pub(crate) async fn ask(&mut self, id: u16, asked: Asked) {
        let bytes = match &asked {
            Asked::Subscribe(filter, qos) => crate::client::subscribe(self.v5, id, &[(filter, *qos)]),
            Asked::Unsubscribe(filter) => crate::client::unsubscribe(self.v5, id, &[filter]),
        };
        self.asked.insert(id, asked);
        self.say(&bytes).await;
    }

    /// One word of the server. False if there will be no more.
    pub(crate) async fn hear(&mut self, said: Said, ledger: &mut Ledger) -> bool {
        match said {
            Said::Publish(got) => self.take(&got, ledger),
            Said::Pubrel { packet_id, .. } => {
                self.held.remove(&packet_id);
                self.owed.push_back((0x70, packet_id));
            }
            Said::Puback { packet_id, code } => {
                let at = self.position(packet_id, 1);
                let sent = self.sent.remove(at).expect("found");
                ledger.settle(sent.message, if code < 0x80 { Fate::Accepted } else { Fate::Gone });
            }
            Said::Pubrec { packet_id, code } => self.received(packet_id, code, ledger).await,
            Said::Pubcomp { packet_id, .. } => {
                // Not found (0x92) is an end of it too.
                let at = self.position(packet_id, 2);
                assert!(self.sent[at].released, "PUBCOMP for what was not released: {:?}", self.sent[at]);
                self.sent.remove(at);
            }
            Said::Suback { packet_id, codes } => self.granted(packet_id, codes[0]),
            Said::Unsuback { packet_id, .. } => {
                self.asked.remove(&packet_id);
            }
            Said::Pingresp => {}
            Said::Disconnect { .. } | Said::Gone => return false,
            Said::Connack { .. } => panic!("a second CONNACK"),
        }
        true
    }

    fn position(&self, id: u16, qos: u8) -> usize {
        let at = self.sent.iter().position(|sent| sent.id == id && sent.qos == qos);
        at.unwrap_or_else(|| {
            panic!("an answer to {id} with QoS {qos}, which {} has not sent: {:?}", self.name, self.sent)
        })
    }

    async fn received(&mut self, id: u16, code: u8, ledger: &mut Ledger) {
        let at = self.position(id, 2);
        if code >= 0x80 {
            let sent = self.sent.remove(at).expect("found");
            return ledger.settle(sent.message, Fate::Gone);
        }
        let sent = &mut self.sent[at];
        sent.released = true;
        ledger.settle(sent.message, Fate::Accepted);
        self.say(&release(id)).await;
    }

    fn granted(&mut self, id: u16, code: u8) {
        let Some(Asked::Subscribe(filter, qos)) = self.asked.remove(&id) else { panic!("a SUBACK for {id}") };
        // Another word on it may be on its way.
        let last = !self.asked.values().any(|asked| asked.filter() == filter);
        if code < 0x80 && last {
            assert_eq!(code, qos, "as it was asked for");
            self.filters.insert(filter, Want { sure: Some(code) });
        }
    }

    fn take(&mut self, got: &Got, ledger: &mut Ledger) {
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes")) as usize;
        let message = match got.payload.strip_prefix(b"w") {
            Some(will) => {
                ledger.wills[number(will)].seen += 1;
                OTHERS + number(will)
            }
            None if got.payload.is_empty() => usize::MAX,
            None => number(&got.payload),
        };
        let new = match got.qos {
            0 => true,
            1 => {
                self.owed.push_back((0x40, got.packet_id));
                true
            }
            _ => {
                self.owed.push_back((0x50, got.packet_id));
                let held = self.held.insert(got.packet_id, message);
                assert!(
                    held.is_none_or(|held| held == message),
                    "{} is still in use for {held:?}: {got:?}",
                    got.packet_id
                );
                held.is_none()
            }
        };
        if got.qos > 0 {
            let open = self.open.insert(got.packet_id, message);
            assert_eq!(open, None, "{} is in flight on this connection: {got:?}", got.packet_id);
            assert!(self.open.len() <= self.window, "{} in flight, {} were allowed", self.open.len(), self.window);
        }
        // What was retained comes with a subscription, not in the order of its publisher.
        if new && !got.retain && message < OTHERS {
            ledger.receive(self.index, self.life, message, got.qos, self.lasts);
        }
    }

    /// Says some of the acknowledgements that it owes, in order.
    pub(crate) async fn acknowledge(&mut self, most: usize) {
        for _ in 0..most {
            let Some((first, id)) = self.owed.pop_front() else { return };
            if first != 0x50 {
                self.open.remove(&id);
            }
            self.say(&packet(first, &id.to_be_bytes())).await;
        }
    }
}

fn release(id: u16) -> Vec<u8> {
    packet(0x62, &id.to_be_bytes())
}
