//! The event stream: what is new, resumed, bounded, ended.

use std::time::Duration;

use fleetward_base::limits;
use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, answer};

const STREAM: &str = "/v1/tenants/acme/events/stream";
const DEVICES: &str = "/v1/tenants/acme/devices";
const PATIENCE: Duration = Duration::from_secs(10);

struct Reader {
    response: std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

impl Reader {
    async fn open(house: &House, path: &str, last_id: Option<&str>) -> Self {
        let mut request = house.request(Method::GET, path, &house.acme);
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut reader = Self { response: Box::pin(response.bytes_stream()), text: String::new() };
        reader.until("\n\n").await;
        reader
    }

    /// Reads on until the text appears, and takes it away with what came before.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.text.find(end) {
                return self.text.drain(..at + end.len()).collect();
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.next()).await.expect("in time");
            let chunk = chunk.expect("the stream goes on").expect("bytes");
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next event; comments are passed over.
    async fn event(&mut self) -> (String, Value) {
        loop {
            let frame = self.until("\n\n").await;
            let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                return (id, serde_json::from_str(&data).expect("JSON"));
            }
        }
    }

    async fn ends(mut self) {
        while tokio::time::timeout(PATIENCE, self.response.next()).await.expect("in time").is_some() {}
    }
}

async fn register(house: &House, name: &str) {
    assert_eq!(house.post(DEVICES, &house.acme, &json!({ "name": name })).await.status, 201);
}

#[tokio::test]
async fn what_happens_is_told_and_nothing_is_missed_in_between() {
    let house = House::open().await;
    register(&house, "gw-0").await;
    let mut reader = Reader::open(&house, STREAM, None).await;
    register(&house, "gw-1").await;
    let (id, event) = reader.event().await;
    assert_eq!((&event["action"], &event["device"]), (&json!("device.created"), &json!("gw-1")));
    drop(reader);
    for name in ["gw-2", "gw-3"] {
        register(&house, name).await;
    }
    let mut reader = Reader::open(&house, STREAM, Some(&id)).await;
    assert_eq!(reader.event().await.1["device"], "gw-2");
    assert_eq!(reader.event().await.1["device"], "gw-3");
}

#[tokio::test]
async fn a_stream_tells_of_its_tenant_and_device_only() {
    let house = House::open().await;
    let mut reader = Reader::open(&house, &format!("{STREAM}?device=gw-2"), None).await;
    house.post("/v1/tenants/beta/devices", &house.beta, &json!({ "name": "gw-2" })).await;
    register(&house, "gw-1").await;
    register(&house, "gw-2").await;
    let (_, event) = reader.event().await;
    assert_eq!((&event["device"], &event["actor"]["name"]), (&json!("gw-2"), &json!("acme owner")));
}

#[tokio::test]
async fn a_revoked_token_hears_no_more() {
    let house = House::open().await;
    let mut reader = Reader::open(&house, STREAM, None).await;
    let me = house.get("/v1/whoami", &house.acme).await.json["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/tenants/acme/api-tokens/{me}");
    assert_eq!(answer(house.request(Method::DELETE, &path, &house.admin)).await.status, 204);
    assert_eq!(reader.event().await.1["action"], "api_token.revoked");
    // At the next look at the token, which comes with the next sign of life.
    reader.ends().await;
}

#[tokio::test]
async fn streams_are_bounded_for_each_tenant() {
    let house = House::open().await;
    let mut open = Vec::new();
    for _ in 0..limits::EVENT_STREAMS_PER_TENANT {
        open.push(Reader::open(&house, STREAM, None).await);
    }
    assert_eq!(house.get(STREAM, &house.acme).await.refusal(), (429, "too-many".into()));
    let theirs = house.request(Method::GET, "/v1/tenants/beta/events/stream", &house.beta).send().await;
    assert_eq!(theirs.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_bad_place_to_begin_is_refused() {
    let house = House::open().await;
    for bad in ["x", "-1"] {
        let request = house.request(Method::GET, STREAM, &house.acme).header("last-event-id", bad);
        assert_eq!(answer(request).await.refusal(), (400, "malformed".into()));
    }
    assert_eq!(house.get(&format!("{STREAM}?devise=x"), &house.acme).await.refusal(), (422, "invalid".into()));
}
