//! A client made of bytes: it can say everything, also what is wrong. What the server says is read by `mqtt-protocol-core`,
//! and once more by `mqtt-proto`.

use std::time::Duration;

use mqtt_protocol_core::mqtt::packet::{Property, Qos as WireQos};
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

use crate::house::{House, within};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Connack {
        session_present: bool,
        code: u8,
    },
    Publish(Got),
    Puback {
        packet_id: u16,
        code: u8,
    },
    Pubrec {
        packet_id: u16,
        code: u8,
    },
    Pubrel {
        packet_id: u16,
        code: u8,
    },
    Pubcomp {
        packet_id: u16,
        code: u8,
    },
    Suback {
        packet_id: u16,
        codes: Vec<u8>,
    },
    Unsuback {
        packet_id: u16,
        codes: Vec<u8>,
    },
    Pingresp,
    Disconnect {
        code: u8,
    },
    /// The stream has ended.
    Gone,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) packet_id: u16,
    pub(crate) expiry: Option<u32>,
    pub(crate) content_type: Option<String>,
    pub(crate) identifier: Option<u32>,
}

pub(crate) struct Client<S = DuplexStream> {
    pub(crate) stream: S,
    pub(crate) v5: bool,
    buffer: Vec<u8>,
    pub(crate) connack_properties: Vec<Property>,
}

#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) v5: bool,
    pub(crate) client_id: String,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) expiry: Option<u32>,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) max_packet: Option<u32>,
    pub(crate) will: Option<HelloWill>,
    pub(crate) username: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct HelloWill {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) delay: Option<u32>,
}

pub(crate) fn hello(v5: bool, client_id: &str) -> Hello {
    Hello {
        v5,
        client_id: client_id.into(),
        clean: true,
        keep_alive: 60,
        expiry: None,
        receive_maximum: None,
        max_packet: None,
        will: None,
        username: None,
    }
}

impl Hello {
    /// A session that outlives its connection.
    pub(crate) fn kept(mut self) -> Self {
        self.clean = false;
        if self.v5 {
            self.expiry = Some(3600);
        }
        self
    }

    pub(crate) fn will(mut self, topic: &str, payload: &str) -> Self {
        self.will = Some(HelloWill { topic: topic.into(), payload: payload.into(), ..HelloWill::default() });
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', if self.v5 { 5 } else { 4 }];
        let mut flags = u8::from(self.clean) << 1;
        if let Some(will) = &self.will {
            flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
        }
        flags |= u8::from(self.username.is_some()) << 7;
        body.push(flags);
        body.extend(self.keep_alive.to_be_bytes());
        if self.v5 {
            let mut properties = vec![];
            if let Some(secs) = self.expiry {
                properties.push(0x11);
                properties.extend(secs.to_be_bytes());
            }
            if let Some(max) = self.receive_maximum {
                properties.push(0x21);
                properties.extend(max.to_be_bytes());
            }
            if let Some(max) = self.max_packet {
                properties.push(0x27);
                properties.extend(max.to_be_bytes());
            }
            varint(&mut body, properties.len());
            body.extend(properties);
        }
        text(&mut body, self.client_id.as_bytes());
        if let Some(will) = &self.will {
            if self.v5 {
                let mut properties = vec![];
                if let Some(secs) = will.delay {
                    properties.push(0x18);
                    properties.extend(secs.to_be_bytes());
                }
                varint(&mut body, properties.len());
                body.extend(properties);
            }
            text(&mut body, will.topic.as_bytes());
            text(&mut body, &will.payload);
        }
        if let Some(name) = &self.username {
            text(&mut body, name.as_bytes());
        }
        packet(0x10, &body)
    }
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    varint(&mut out, body.len());
    out.extend(body);
    out
}

pub(crate) fn varint(out: &mut Vec<u8>, mut n: usize) {
    loop {
        let byte = (n % 128) as u8;
        n /= 128;
        out.push(if n > 0 { byte | 0x80 } else { byte });
        if n == 0 {
            return;
        }
    }
}

pub(crate) fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text);
}

/// A PUBLISH; QoS 0 with packet identifier 0. `properties` are encoded, for 5.0.
pub(crate) fn publish_with(
    v5: bool,
    first: u8,
    packet_id: u16,
    topic: &str,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = vec![];
    text(&mut body, topic.as_bytes());
    if packet_id != 0 {
        body.extend(packet_id.to_be_bytes());
    }
    if v5 {
        varint(&mut body, properties.len());
        body.extend(properties);
    }
    body.extend(payload);
    packet(first, &body)
}

pub(crate) fn publish(v5: bool, packet_id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    publish_with(v5, if packet_id == 0 { 0x30 } else { 0x32 }, packet_id, topic, &[], payload)
}

pub(crate) fn subscribe(v5: bool, packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if v5 {
        body.push(0);
    }
    for (filter, options) in filters {
        text(&mut body, filter.as_bytes());
        body.push(*options);
    }
    packet(0x82, &body)
}

pub(crate) fn unsubscribe(v5: bool, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if v5 {
        body.push(0);
    }
    for filter in filters {
        text(&mut body, filter.as_bytes());
    }
    packet(0xA2, &body)
}

impl Client {
    /// Connects and is accepted.
    pub(crate) async fn connect(house: &House, name: &str, hello: Hello) -> Self {
        let (client, code) = Self::try_connect(house, name, hello).await;
        assert_eq!(code, 0, "accepted");
        client
    }

    pub(crate) async fn try_connect(house: &House, name: &str, hello: Hello) -> (Self, u8) {
        let mut client = Client::new(house.dial(name), hello.v5);
        client.send(&hello.bytes()).await;
        match client.next().await {
            Said::Connack { code, .. } => (client, code),
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    /// Connects; whether there was a session.
    pub(crate) async fn resume(house: &House, name: &str, hello: Hello) -> (Self, bool) {
        let mut client = Client::new(house.dial(name), hello.v5);
        client.send(&hello.bytes()).await;
        match client.next().await {
            Said::Connack { code: 0, session_present } => (client, session_present),
            other => panic!("not accepted: {other:?}"),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S, v5: bool) -> Self {
        Self { stream, v5, buffer: vec![], connack_properties: vec![] }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("the server to read", self.stream.write_all(bytes)).await.expect("open");
    }

    /// As `send`, to a server that may have gone.
    pub(crate) async fn shout(&mut self, bytes: &[u8]) {
        let _gone = within("the server to read", self.stream.write_all(bytes)).await;
    }

    pub(crate) async fn next(&mut self) -> Said {
        within("the server to speak", self.read_one()).await
    }

    async fn read_one(&mut self) -> Said {
        loop {
            if let Some((first, body, len)) = whole(&self.buffer) {
                let said = self.understand(first, &body);
                self.buffer.drain(..len);
                return said;
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await {
                Ok(n) if n > 0 => self.buffer.extend(&bytes[..n]),
                _ => {
                    assert!(self.buffer.is_empty(), "half a packet: {:?}", self.buffer);
                    return Said::Gone;
                }
            }
        }
    }

    fn understand(&mut self, first: u8, body: &[u8]) -> Said {
        ask_another_decoder(self.v5, &packet(first, body));
        let id = |body: &[u8]| u16::from_be_bytes([body[0], body[1]]);
        let code = |body: &[u8]| body.get(2).copied().unwrap_or(0);
        match first >> 4 {
            2 if self.v5 => {
                let (connack, used) = v5_0::Connack::parse(body).expect("a CONNACK");
                assert_eq!(used, body.len());
                self.connack_properties = connack.props().clone();
                Said::Connack { session_present: connack.session_present(), code: connack.reason_code() as u8 }
            }
            2 => {
                let (connack, used) = v3_1_1::Connack::parse(body).expect("a CONNACK");
                assert_eq!(used, body.len());
                Said::Connack { session_present: connack.session_present(), code: connack.return_code() as u8 }
            }
            3 => Said::Publish(self.understand_publish(first & 15, body)),
            4 => Said::Puback { packet_id: id(body), code: code(body) },
            5 => Said::Pubrec { packet_id: id(body), code: code(body) },
            6 => {
                assert_eq!(first, 0x62);
                Said::Pubrel { packet_id: id(body), code: code(body) }
            }
            7 => Said::Pubcomp { packet_id: id(body), code: code(body) },
            9 => {
                let codes = if self.v5 { body[3..].to_vec() } else { body[2..].to_vec() };
                Said::Suback { packet_id: id(body), codes }
            }
            11 => Said::Unsuback { packet_id: id(body), codes: if self.v5 { body[3..].to_vec() } else { vec![] } },
            13 => Said::Pingresp,
            14 if self.v5 => {
                let (disconnect, used) = v5_0::Disconnect::parse(body).expect("a DISCONNECT");
                assert_eq!(used, body.len());
                Said::Disconnect { code: disconnect.reason_code().map_or(0, |c| c as u8) }
            }
            _ => panic!("the server may not say {first:#x} {body:?}"),
        }
    }

    fn understand_publish(&self, flags: u8, body: &[u8]) -> Got {
        let qos = |q: WireQos| q as u8;
        if self.v5 {
            let (p, used) = v5_0::Publish::parse(flags, body.into()).expect("a PUBLISH");
            assert_eq!(used, body.len());
            let mut got = Got {
                topic: p.topic_name().into(),
                payload: p.payload().as_slice().to_vec(),
                qos: qos(p.qos()),
                dup: p.dup(),
                retain: p.retain(),
                packet_id: p.packet_id().unwrap_or(0),
                ..Got::default()
            };
            for property in p.props() {
                match property {
                    Property::MessageExpiryInterval(e) => got.expiry = Some(e.val()),
                    Property::ContentType(c) => got.content_type = Some(c.val().into()),
                    Property::SubscriptionIdentifier(i) => got.identifier = Some(i.val()),
                    _ => {}
                }
            }
            got
        } else {
            let (p, _) = v3_1_1::Publish::parse(flags, body.into()).expect("a PUBLISH");
            Got {
                topic: p.topic_name().into(),
                payload: p.payload().as_slice().to_vec(),
                qos: qos(p.qos()),
                dup: p.dup(),
                retain: p.retain(),
                packet_id: p.packet_id().unwrap_or(0),
                ..Got::default()
            }
        }
    }

    /// Everything that the server has to say for now. Needs a clock that stands still while anybody is busy (`start_paused`).
    pub(crate) async fn until_quiet(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        while let Ok(one) = tokio::time::timeout(Duration::from_millis(20), self.read_one()).await {
            let gone = one == Said::Gone;
            said.push(one);
            if gone {
                break;
            }
        }
        said
    }

    pub(crate) async fn expect(&mut self, said: Said) {
        assert_eq!(self.next().await, said);
    }

    pub(crate) async fn expect_publish(&mut self) -> Got {
        match self.next().await {
            Said::Publish(got) => got,
            other => panic!("no PUBLISH but {other:?}"),
        }
    }

    /// Receives a message and, with QoS 1, acknowledges it.
    pub(crate) async fn take(&mut self) -> Got {
        let got = self.expect_publish().await;
        if got.qos == 1 {
            self.ack(got.packet_id).await;
        }
        got
    }

    pub(crate) async fn ack(&mut self, packet_id: u16) {
        self.send(&packet(0x40, &packet_id.to_be_bytes())).await;
    }

    /// Publishes with QoS 1 and waits for the PUBACK.
    pub(crate) async fn publish(&mut self, packet_id: u16, topic: &str, payload: &str) {
        self.send(&publish(self.v5, packet_id, topic, payload.as_bytes())).await;
        self.expect(Said::Puback { packet_id, code: 0 }).await;
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) {
        self.send(&subscribe(self.v5, 9, &[(filter, qos)])).await;
        self.expect(Said::Suback { packet_id: 9, codes: vec![qos] }).await;
    }

    /// Everything sent before has been acted on.
    pub(crate) async fn ping(&mut self) {
        self.send(&[0xC0, 0]).await;
        self.expect(Said::Pingresp).await;
    }

    pub(crate) async fn leave(&mut self) {
        self.send(&[0xE0, 0]).await;
        self.expect(Said::Gone).await;
    }

    /// The server ends it: with this code where there is a word for it.
    pub(crate) async fn expect_end(&mut self, code: u8) {
        if self.v5 {
            self.expect(Said::Disconnect { code }).await;
        }
        self.expect(Said::Gone).await;
    }
}

/// Whatever the server says is a packet to a second decoder as well.
fn ask_another_decoder(v5: bool, bytes: &[u8]) {
    let read = if v5 {
        mqtt_proto::v5::Packet::decode(bytes).map(|packet| packet.is_some()).map_err(|error| error.to_string())
    } else {
        mqtt_proto::v3::Packet::decode(bytes).map(|packet| packet.is_some()).map_err(|error| error.to_string())
    };
    assert_eq!(read, Ok(true), "{bytes:?}");
}

fn whole(buffer: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let first = *buffer.first()?;
    let (mut len, mut at) = (0usize, 1);
    loop {
        let byte = *buffer.get(at)?;
        len |= usize::from(byte & 0x7F) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((first, buffer.get(at..at + len)?.to_vec(), at + len))
}

impl Client {
    /// As `ping`, with other packets that may come in between and are put back.
    pub(crate) async fn ping_among_others(&mut self) {
        self.send(&[0xC0, 0]).await;
        loop {
            match self.next().await {
                Said::Pingresp => return,
                Said::Publish(got) => self.ack(got.packet_id).await,
                said => panic!("not yet: {said:?}"),
            }
        }
    }
}
