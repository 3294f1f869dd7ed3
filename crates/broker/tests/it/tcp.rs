//! Over a real socket, with everything at once.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fleetward_broker::Reason;
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Client, Said, hello, publish};
use crate::house::{House, peer, tenant, within};

async fn listen(house: &House) -> std::net::SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (broker, tracker) = (house.broker.clone(), house.tracker.clone());
    house.tracker.spawn(async move {
        let mut n = 0;
        while let Ok((stream, _)) = listener.accept().await {
            // The port a peer comes from stands for its certificate here: devices count up.
            tracker.spawn(broker.serve(stream, peer(&format!("acme/d{n}"))));
            n += 1;
        }
    });
    address
}

async fn dial(address: std::net::SocketAddr, name: &str, v5: bool) -> Client<TcpStream> {
    let mut client = Client::new(within("a connection", TcpStream::connect(address)).await.expect("listening"), v5);
    client.send(&hello(v5, name).kept().bytes()).await;
    client.expect(Said::Connack { session_present: false, code: 0 }).await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_send_to_one_that_comes_and_goes() {
    let house = House::new().await;
    let address = listen(&house).await;
    let mut keeper = dial(address, "d0", true).await;
    keeper.subscribe("t/#", 1).await;
    let mut senders = Vec::new();
    for n in 1..=8 {
        senders.push(dial(address, &format!("d{n}"), n % 2 == 0).await);
    }
    let sending = futures::future::join_all(senders.into_iter().enumerate().map(|(n, mut sender)| async move {
        for batch in 0..20u16 {
            let ids = batch * 20 + 1..=batch * 20 + 20;
            let v5 = sender.v5;
            let bytes: Vec<u8> =
                ids.clone().flat_map(|id| publish(v5, id, &format!("t/{n}"), &id.to_be_bytes())).collect();
            sender.send(&bytes).await;
            for packet_id in ids {
                sender.expect(Said::Puback { packet_id, code: 0 }).await;
            }
        }
    }));
    let receiving = async {
        let mut next = [1u16; 8];
        while next.iter().any(|n| *n <= 400) {
            let got = keeper.take().await;
            let from: usize = got.topic[2..].parse().expect("a number");
            let id = u16::from_be_bytes([got.payload[0], got.payload[1]]);
            assert_eq!(id, next[from], "in order");
            next[from] += 1;
        }
    };
    within("all messages", async { tokio::join!(sending, receiving) }).await;
    keeper.ping().await;
}

/// Three clients fight for one session on two threads; what is sent meanwhile reaches one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fight_for_one_session_loses_nothing() {
    const MESSAGES: u16 = 300;
    let house = House::new().await;
    let kept = || hello(true, "keeper").kept();
    let mut first = Client::connect(&house, "acme/keeper", kept()).await;
    first.subscribe("t", 1).await;
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut fighters = Vec::new();
    for _ in 0..3 {
        let (seen, stop, broker) = (seen.clone(), stop.clone(), house.broker.clone());
        fighters.push(house.tracker.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let (ours, theirs) = tokio::io::duplex(4096);
                let serving = broker.serve(theirs, peer("acme/keeper"));
                let fighting = fight(ours, &seen, &stop);
                futures::future::join(serving, fighting).await;
            }
        }));
    }
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    for n in 1..=MESSAGES {
        sender.publish(n, "t", &n.to_string()).await;
    }
    within("all to be seen", async {
        while seen.lock().len() < usize::from(MESSAGES) {
            sender.ping().await;
        }
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    house.broker.kick_all(&tenant("acme"), Reason::AdministrativeAction);
    within("the fighters", futures::future::join_all(fighters)).await;
    assert_eq!(house.broker.stats().connections, 0);
}

/// Takes the session, and what comes, until another takes it.
async fn fight(stream: DuplexStream, seen: &Mutex<BTreeSet<u16>>, stop: &AtomicBool) {
    let mut client = Client::new(stream, true);
    client.shout(&hello(true, "keeper").kept().bytes()).await;
    loop {
        match client.next().await {
            Said::Connack { code: 0, session_present: true } => {}
            Said::Publish(got) => {
                seen.lock().insert(String::from_utf8_lossy(&got.payload).parse().expect("a number"));
                client.shout(&crate::client::packet(0x40, &got.packet_id.to_be_bytes())).await;
            }
            Said::Disconnect { .. } => {}
            Said::Gone => return,
            said => panic!("{said:?}"),
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}
