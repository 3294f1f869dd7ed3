//! Authorities over the API.

use fleetward_app::ca_rotations::anchor_held;
use fleetward_base::DeviceId;
use fleetward_core::access::Role;
use serde_json::json;

use crate::house::{House, tenant};

#[tokio::test]
async fn a_tenant_sees_its_own_devices_that_lag() {
    let house = House::open().await;
    let path = "/v1/tenants/acme/ca-rotation/lagging";
    let none = house.get(path, &house.acme).await;
    assert_eq!(none.status, 404, "no root is waited for: {}", none.json);
    for (home, names) in [("acme", &["gw-1", "gw-2", "gw-3"][..]), ("beta", &["gw-9"])] {
        for name in names {
            let path = format!("/v1/tenants/{home}/devices");
            let made = house.post(&path, &house.admin, &json!({ "name": name })).await;
            assert_eq!(made.status, 201, "{}", made.json);
        }
    }
    for (home, names) in [("acme", &["gw-1", "gw-2", "gw-3"][..]), ("beta", &["gw-9"])] {
        let names: Vec<DeviceId> = names.iter().map(|name| name.parse().expect("a name")).collect();
        let (now, home) = (house.app.now(), tenant(home));
        let moved = house.app.write(&home, "test", move |tx| {
            Box::pin(async move { Ok(tx.move_devices(&names, "claimed", "active", now).await?.len()) })
        });
        assert!(moved.await.expect("moved") > 0);
    }
    let started = house.post("/v1/ca-rotation", &house.admin, &json!({})).await;
    assert_eq!(started.status, 201, "{}", started.json);
    let viewer = house.token("acme", Role::Viewer).await;
    let first = house.get(&format!("{path}?limit=2"), &viewer).await;
    assert_eq!(first.json["items"], json!([{ "device": "gw-1" }, { "device": "gw-2" }]));
    let next = first.json["next"].as_str().expect("a cursor");
    let rest = house.get(&format!("{path}?limit=2&cursor={next}"), &viewer).await;
    assert_eq!((&rest.json["items"], &rest.json["next"]), (&json!([{ "device": "gw-3" }]), &json!(null)));
    let root = started.json["new"].as_str().expect("a fingerprint");
    let gw_2 = "gw-2".parse().expect("a name");
    anchor_held(&house.app, &tenant("acme"), &gw_2, root).await.expect("counted");
    let left = house.get(path, &viewer).await;
    assert_eq!(left.json["items"], json!([{ "device": "gw-1" }, { "device": "gw-3" }]));
    // Another tenant sees its own and nobody else's; a cursor of one is none of the other.
    let theirs = house.get("/v1/tenants/beta/ca-rotation/lagging", &house.beta).await;
    assert_eq!(theirs.json["items"], json!([{ "device": "gw-9" }]));
    assert_eq!(house.get(path, &house.beta).await.status, 404);
    let stolen = house.get(&format!("/v1/tenants/beta/ca-rotation/lagging?limit=2&cursor={next}"), &house.beta).await;
    assert_eq!(stolen.status, 400);
}
