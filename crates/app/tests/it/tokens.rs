//! Tokens: the first administrator's, the operators', and those that devices enrol with.

use std::time::Duration;

use fleetward_app::{Error, Idempotency, api_tokens, enroll_tokens, setup};
use fleetward_core::access::Role;
use fleetward_core::lifecycle::Transition;
use fleetward_core::registry::DeviceFields;

use crate::fixture::{Fixture, device, tenant};

#[tokio::test]
async fn an_offer_is_taken_once() {
    let fixture = Fixture::new().await;
    // The fixture took it.
    assert!(setup::offer(&fixture.app).await.expect("a store").is_none());
    let nobody = fixture.app.system("test");
    for token in ["", "fws_", "fws_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let refused = setup::claim(&fixture.app, &nobody, token).await;
        assert!(matches!(refused, Err(Error::Unauthenticated { .. })), "{token}");
    }
}

#[tokio::test]
async fn a_token_counts_until_it_expires_or_is_taken_back() {
    let fixture = Fixture::new().await;
    let (app, home) = (&fixture.app, Some(tenant("acme")));
    let life = Some(Duration::from_secs(60));
    let new = |name: &str| {
        api_tokens::create_api_token(app, &fixture.admin, home.clone(), name.to_owned(), Role::Viewer, life)
    };
    let (one, two) = (new("one").await.expect("made"), new("two").await.expect("made"));
    assert!(api_tokens::authenticate(app, &one.token).await.is_ok());
    api_tokens::revoke_api_token(app, &fixture.admin, home.clone(), one.id).await.expect("taken back");
    assert!(matches!(api_tokens::authenticate(app, &one.token).await, Err(Error::Unauthenticated { .. })));
    assert!(api_tokens::authenticate(app, &two.token).await.is_ok());
    fixture.clock.advance(Duration::from_secs(60));
    assert!(matches!(api_tokens::authenticate(app, &two.token).await, Err(Error::Unauthenticated { .. })));
}

#[tokio::test]
async fn roles_stay_where_they_belong() {
    let fixture = Fixture::new().await;
    let make =
        |home, role| api_tokens::create_api_token(&fixture.app, &fixture.admin, home, "x".to_owned(), role, None);
    assert!(matches!(make(None, Role::Owner).await, Err(Error::Invalid { .. })));
    assert!(matches!(make(Some(tenant("acme")), Role::Admin).await, Err(Error::Invalid { .. })));
    let operator = fixture.operator("acme", "operator").await;
    let home = Some(tenant("acme"));
    let denied = api_tokens::create_api_token(&fixture.app, &operator, home, "x".to_owned(), Role::Viewer, None).await;
    assert!(matches!(denied, Err(Error::Denied { .. })));
}

#[tokio::test]
async fn the_same_request_twice_makes_one_token() {
    let fixture = Fixture::new().await;
    let acme = tenant("acme");
    let mut ops = fixture.operator("acme", "operator").await;
    ops.idempotency = Some(Idempotency { key: "k1".to_owned(), request_hash: [1; 32] });
    let create =
        || enroll_tokens::create_enroll_token(&fixture.app, &ops, &acme, device("gw-1"), DeviceFields::default(), None);
    let (first, second) = (create().await.expect("made"), create().await.expect("kept"));
    assert_eq!((first.id, &first.token), (second.id, &second.token));
    let all = enroll_tokens::enroll_tokens(&fixture.app, &ops, &acme, None, None, 10).await.expect("listed");
    assert_eq!(all.len(), 1);
    let mut other = ops.clone();
    other.idempotency = Some(Idempotency { key: "k1".to_owned(), request_hash: [2; 32] });
    let reused =
        enroll_tokens::create_enroll_token(&fixture.app, &other, &acme, device("gw-2"), DeviceFields::default(), None)
            .await;
    assert!(matches!(reused, Err(Error::Conflict { code: "idempotency-key-reused", .. })));
}

#[tokio::test]
async fn a_device_at_its_end_gets_no_token() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let owner = fixture.operator("acme", "owner").await;
    fleetward_app::registry::create_device(app, &owner, &acme, device("gw-1"), DeviceFields::default())
        .await
        .expect("made");
    fleetward_app::registry::change_status(app, &owner, &acme, &device("gw-1"), Transition::Decommission)
        .await
        .expect("ended");
    let refused =
        enroll_tokens::create_enroll_token(app, &owner, &acme, device("gw-1"), DeviceFields::default(), None).await;
    assert!(matches!(refused, Err(Error::Conflict { code: "life-cycle", .. })));
}
