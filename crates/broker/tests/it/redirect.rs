//! Clients that are sent to another server.

use fleetward_broker::Redirect;
use mqtt_protocol_core::mqtt::packet::Property;
use tokio::io::AsyncReadExt;

use crate::client::{Client, Said, hello};
use crate::house::{House, within};

#[tokio::test]
async fn those_who_are_there_and_those_who_come_are_told_where_to_go() {
    for (moved, code) in [(false, 0x9C), (true, 0x9D)] {
        let house = House::new().await;
        let mut old = Client::connect(&house, "acme/old", hello(false, "old").kept()).await;
        let mut new = Client::connect(&house, "acme/new", hello(true, "new").kept()).await;
        let to = Redirect { server: "b.example.com:8883".to_owned(), moved };
        assert_eq!(house.broker.redirect(Some(to.clone()), 1), 2);
        assert_eq!(house.broker.redirected(), Some(to));
        // 3.1.1 has no word for it.
        old.expect(Said::Gone).await;
        let mut said = Vec::new();
        within("the end", new.stream.read_to_end(&mut said)).await.expect("read");
        let mut expected = vec![0xE0, 2 + 3 + 18, code, 3 + 18, 0x1C, 0, 18];
        expected.extend(b"b.example.com:8883");
        assert_eq!(said, expected);
        let (client, refused) = Client::try_connect(&house, "acme/new", hello(true, "new").kept()).await;
        assert_eq!(refused, code);
        let server = client.connack_properties.iter().find_map(|property| match property {
            Property::ServerReference(server) => Some(server.val().to_owned()),
            _ => None,
        });
        assert_eq!(server.as_deref(), Some("b.example.com:8883"));
        assert_eq!(Client::try_connect(&house, "acme/old", hello(false, "old").kept()).await.1, 3);
        // What they had is kept for when they are back.
        assert_eq!(house.broker.redirect(None, 1), 0);
        let (_, present) = Client::resume(&house, "acme/new", hello(true, "new").kept()).await;
        assert!(present);
    }
}
