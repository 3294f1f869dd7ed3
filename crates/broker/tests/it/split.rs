//! Streams of good and damaged packets, cut anywhere; and the door held against the second decoder, packet by packet.

use std::path::Path;

use fleetward_broker::codec::said::{Met, meet};
use fleetward_broker::{EndReason, codec};
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use crate::client::{Client, Said, hello};
use crate::codecs::{Written, any_packet, damage, damaged, later};
use crate::house::House;
use crate::stream::{Cut, check, feed, greeting, quiet};

/// What follows a CONNECT, and how each packet of it is damaged.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let one = (later(), prop_oneof![3 => Just(Vec::new()), 1 => damage(3)], any::<bool>());
    (any::<bool>(), any::<bool>(), prop::collection::vec(one, 0..16)).prop_map(|(v5, kept, packets)| {
        let mut stream = greeting(v5, kept);
        for (written, damage, mended) in packets {
            if written.v5 == v5 || !damage.is_empty() {
                stream.extend(damaged(&written.bytes, &damage, mended));
            }
        }
        stream
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn a_stream_may_be_cut_anywhere(stream in streams(), chance in any::<u64>()) {
        check(&stream, chance);
    }

    /// The first packet is damaged as well, or something else.
    #[test]
    fn so_may_a_stream_that_begins_wrong(
        first in any_packet(),
        damage in damage(3),
        mended in any::<bool>(),
        rest in streams(),
        chance in any::<u64>(),
    ) {
        check(&[damaged(&first.bytes, &damage, mended), rest].concat(), chance);
    }

    /// The connection goes on, or ends with the very code, as the decoder by itself has it, which `codecs` holds against another.
    #[test]
    fn the_connection_does_as_its_decoder_says(written in later(), damage in damage(4), mended in any::<bool>()) {
        let Written { bytes, v5, .. } = written;
        let bytes = damaged(&bytes, &damage, mended);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(holds(&bytes, v5));
    }
}

async fn holds(bytes: &[u8], v5: bool) {
    // What comes first in these bytes is all of them, or else what follows would speak too.
    let whole = crate::differential::header(bytes).is_some_and(|(at, len)| at + len == bytes.len());
    let met = meet(bytes, v5, false);
    if !whole && !matches!(met, Met::Refused(_)) {
        return;
    }
    let outcome = feed(&[greeting(v5, false), bytes.to_vec()].concat(), Cut::Whole).await;
    let end = outcome.end.expect("it was connected");
    match met {
        Met::Refused(code) => match end {
            EndReason::Server(reason) => assert_eq!(reason.code(), code, "{bytes:?}"),
            end => panic!("{end:?} for {bytes:?}, which is refused with {code:#x}"),
        },
        Met::Said(said) => assert!(goes_on(&said, end, v5), "{end:?} for {said:?}"),
        Met::Incomplete => assert_eq!(end, EndReason::ConnectionLost, "{bytes:?}"),
    }
}

/// What ends a connection though the packet by itself is in order.
fn goes_on(said: &codec::said::Said, end: EndReason, v5: bool) -> bool {
    use codec::said::Said as Packet;
    let code = if let EndReason::Server(reason) = end { reason.code() } else { 0 };
    match said {
        // A session without expiry gets none at its end, §3.14.2.2.2.
        Packet::Disconnect { session_expiry_secs: Some(1..), .. } => code == 0x82,
        Packet::Disconnect { .. } => end == EndReason::ClientDisconnected,
        // An alias that nothing has been said of; and what 3.1.1 cannot be told otherwise.
        Packet::Publish(publication) if publication.topic.is_empty() => code == 0x82,
        Packet::Publish(publication) if !v5 && publication.topic.starts_with('$') => code == 0x87,
        _ => end == EndReason::ConnectionLost,
    }
}

/// The inputs of the fuzz target `broker_connection`.
#[test]
fn the_corpus_of_the_connection() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/broker_connection");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).expect("the corpus") {
        crate::stream::input(&std::fs::read(file.expect("readable").path()).expect("readable"));
        seen += 1;
    }
    assert!(seen > 15);
}

/// Large packets and many, in pieces that have nothing to do with them.
#[tokio::test(start_paused = true)]
async fn large_packets_in_pieces() {
    let mut stream = greeting(true, true);
    for n in 1..20u16 {
        let payload = vec![n as u8; usize::from(n) * 6000];
        stream.extend(crate::client::publish(true, n, "t/a", &payload));
    }
    let whole = feed(&stream, Cut::Whole).await;
    assert_eq!(whole.end, Some(EndReason::ConnectionLost));
    for seed in 0..4 {
        assert_eq!(feed(&stream, Cut::Random(seed)).await.end, whole.end);
    }
}

/// A length that is claimed makes no room: `feed` looks how much there is before a CONNECT is believed.
#[tokio::test(start_paused = true)]
async fn a_claim_makes_no_room() {
    for claimed in [4000, 5000, 200_000] {
        let mut stream = vec![0x10];
        crate::client::varint(&mut stream, claimed);
        stream.extend([0; 900]);
        for cut in [Cut::Whole, Cut::Bytes] {
            assert_eq!(feed(&stream, cut).await.end, None);
        }
    }
}

/// Who does not read what it is owed is not read from: what it makes the server hold has an end.
#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_not_read_from() {
    const OFFERED: usize = 8 * 1024 * 1024;
    let house = House::new().await;
    for flood in [vec![0xC0, 0], crate::client::subscribe(true, 1, &[("t", 0)])] {
        let mut client = Client::connect(&house, "acme/one", hello(true, "one").kept()).await;
        let mut taken = 0;
        let flood = flood.repeat(1024);
        while taken < OFFERED {
            tokio::select! {
                biased;
                sent = client.stream.write(&flood[taken % flood.len()..]) => taken += sent.expect("open"),
                () = quiet() => break,
            }
        }
        assert!(taken < 1024 * 1024, "{taken} bytes were taken from a client that reads nothing");
        drop(client);
        house.rules.wait_gone("one").await;
        house.rules.told.lock().clear();
    }
}

/// A connection that says what it likes gets only what it may have; whoever is beside it notices nothing.
#[tokio::test(start_paused = true)]
async fn a_neighbour_notices_nothing() {
    let house = House::new().await;
    let mut neighbour = Client::connect(&house, "acme/two", hello(true, "two").kept()).await;
    neighbour.subscribe("quiet/#", 1).await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..200 {
        use proptest::strategy::ValueTree;
        let stream = streams().new_tree(&mut runner).expect("a value").current();
        let mut client = Client::new(house.dial("acme/one"), true);
        client.shout(&stream).await;
        quiet().await;
    }
    let mut sender = Client::connect(&house, "acme/three", hello(true, "three")).await;
    sender.publish(1, "quiet/x", "still here").await;
    let said = neighbour.until_quiet().await;
    assert!(matches!(&said[..], [Said::Publish(got)] if got.payload == b"still here"), "{said:?}");
    neighbour.leave().await;
    sender.leave().await;
    quiet().await;
    assert_eq!(house.broker.stats().connections, 0);
}
