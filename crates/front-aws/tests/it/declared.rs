//! What a tool that keeps resources as they are declared depends on, Terraform above all: nothing is read back that was not
//! written, what was taken out of a declaration goes, and a refusal has the name and the words by which it goes on.

use serde_json::{Value, json};

use crate::house::{Answer, House};

const TEMPLATE: &str = "{\n  \"Parameters\": { \"S\": { \"Type\": \"String\" } },\n  \"Resources\": {\n    \"thing\": { \"Type\": \"AWS::IoT::Thing\", \"Properties\": { \"ThingName\": { \"Ref\": \"S\" } } },\n    \"certificate\": { \"Type\": \"AWS::IoT::Certificate\", \"Properties\": { \"CertificateId\": { \"Ref\": \"AWS::IoT::Certificate::Id\" } } }\n  }\n}";

async fn refused(house: &House, method: &str, target: &str, body: Value) -> Answer {
    let answer = house.ask(&house.owner, "iot", (method, target), &[], &body.to_string()).await;
    assert!(answer.status >= 400, "{method} {target}: {answer:?}");
    answer
}

fn says(answer: &Answer, words: &str) {
    assert!(answer.json.to_string().contains(words), "{words} is missing in {answer:?}");
}

#[tokio::test]
async fn a_group_has_the_properties_that_were_written() {
    let house = House::open().await;
    let properties =
        async || house.does("GET", "/thing-groups/floor", Value::Null).await["thingGroupProperties"].clone();
    house.does("POST", "/thing-groups/floor", json!({})).await;
    assert_eq!(properties().await, json!({}), "none were written");
    let all = json!({ "thingGroupDescription": "second", "attributePayload": { "attributes": { "a": "1" } } });
    house.does("PATCH", "/thing-groups/floor", json!({ "thingGroupProperties": all, "expectedVersion": 1 })).await;
    assert_eq!(properties().await, all);
    let more = json!({ "attributePayload": { "attributes": { "b": "2" }, "merge": true } });
    house.does("PATCH", "/thing-groups/floor", json!({ "thingGroupProperties": more })).await;
    let merged =
        json!({ "thingGroupDescription": "second", "attributePayload": { "attributes": { "a": "1", "b": "2" } } });
    assert_eq!(properties().await, merged, "what is merged leaves the rest alone");
    let words = json!({ "thingGroupDescription": "third" });
    house.does("PATCH", "/thing-groups/floor", json!({ "thingGroupProperties": words })).await;
    assert_eq!(properties().await["attributePayload"], merged["attributePayload"], "no attributes were given");
    // What Terraform sends where everything was taken out.
    let none = json!({ "attributePayload": { "attributes": {} } });
    let after =
        house.does("PATCH", "/thing-groups/floor", json!({ "thingGroupProperties": none, "expectedVersion": 4 })).await;
    assert_eq!((properties().await, &after["version"]), (json!({}), &json!(5)));
    let stale = json!({ "thingGroupProperties": none, "expectedVersion": 4 });
    assert_eq!(refused(&house, "PATCH", "/thing-groups/floor", stale).await.kind, "VersionConflictException");
}

#[tokio::test]
async fn a_group_with_groups_in_it_waits_for_them() {
    let house = House::open().await;
    house.does("POST", "/thing-groups/floor", json!({})).await;
    house.does("POST", "/thing-groups/room", json!({ "parentGroupName": "floor" })).await;
    let full = refused(&house, "DELETE", "/thing-groups/floor", Value::Null).await;
    assert_eq!(full.kind, "InvalidRequestException");
    says(&full, "there are still child groups attached");
    house.does("DELETE", "/thing-groups/room", Value::Null).await;
    house.does("DELETE", "/thing-groups/floor", Value::Null).await;
    house.does("DELETE", "/thing-groups/floor", Value::Null).await;
    assert_eq!(refused(&house, "GET", "/thing-groups/floor", Value::Null).await.kind, "ResourceNotFoundException");
}

#[tokio::test]
async fn what_an_attachment_is_of_may_be_gone_first() {
    let house = House::open().await;
    let policy = r#"{"Statement":[{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/a"}]}"#;
    house.does("POST", "/policies/p", json!({ "policyDocument": policy })).await;
    let group = house.does("POST", "/thing-groups/floor", json!({})).await["thingGroupArn"].clone();
    house.does("PUT", "/target-policies/p", json!({ "target": group })).await;
    assert_eq!(refused(&house, "DELETE", "/policies/p", Value::Null).await.kind, "DeleteConflictException");
    let nowhere = json!({ "target": group.as_str().expect("an ARN").replace("thinggroup/floor", "cert/00ff") });
    let gone = refused(&house, "POST", "/target-policies/p", nowhere).await;
    assert_eq!(gone.kind, "InvalidRequestException");
    says(&gone, "Invalid Target");
    house.does("POST", "/target-policies/p", json!({ "target": group })).await;
    house.does("POST", "/target-policies/p", json!({ "target": group })).await;
    house.does("DELETE", "/policies/p", Value::Null).await;
    assert_eq!(refused(&house, "GET", "/policies/p/version", Value::Null).await.kind, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_policy_is_read_back_as_it_came_and_its_sixth_version_is_refused() {
    let house = House::open().await;
    let text = |topic: &str| {
        format!(
            r#"{{"Statement": [{{"Resource":"arn:aws:iot:*:*:topic/{topic}","Effect":"Allow","Action":["iot:Publish"]}}]}}"#
        )
    };
    house.does("POST", "/policies/p", json!({ "policyDocument": text("1") })).await;
    for topic in ["2", "3", "4", "5"] {
        house.does("POST", "/policies/p/version?setAsDefault=true", json!({ "policyDocument": text(topic) })).await;
        let now = house.does("GET", "/policies/p", Value::Null).await;
        assert_eq!((&now["policyDocument"], &now["defaultVersionId"]), (&json!(text(topic)), &json!(topic)));
    }
    let sixth = json!({ "policyDocument": text("6") });
    let full = refused(&house, "POST", "/policies/p/version?setAsDefault=true", sixth.clone()).await;
    assert_eq!((full.status, full.kind.as_str()), (409, "VersionsLimitExceededException"));
    house.does("DELETE", "/policies/p/version/1", Value::Null).await;
    house.does("POST", "/policies/p/version?setAsDefault=true", sixth).await;
    assert_eq!(house.does("GET", "/policies/p", Value::Null).await["defaultVersionId"], "6");
}

#[tokio::test]
async fn a_template_is_read_back_byte_by_byte() {
    let house = House::open().await;
    let role = "arn:aws:iam::123456789012:role/service";
    let made = json!({
        "templateName": "line", "templateBody": TEMPLATE, "provisioningRoleArn": role, "description": "the line",
        "enabled": true, "tags": [{ "Key": "team", "Value": "iot" }],
    });
    let arn = house.does("POST", "/provisioning-templates", made).await["templateArn"].clone();
    let read = async || house.does("GET", "/provisioning-templates/line", Value::Null).await;
    let first = read().await;
    assert_eq!((&first["templateBody"], &first["provisioningRoleArn"]), (&json!(TEMPLATE), &json!(role)));
    assert_eq!((&first["description"], &first["defaultVersionId"]), (&json!("the line"), &json!(1)));
    assert_eq!(first["preProvisioningHook"], Value::Null);
    let next = json!({ "templateBody": format!("{TEMPLATE}\n") });
    house.does("POST", "/provisioning-templates/line/versions?setAsDefault=true", next.clone()).await;
    // What Terraform sends where the description was taken out.
    let without = json!({ "description": "", "enabled": true, "provisioningRoleArn": role });
    house.does("PATCH", "/provisioning-templates/line", without).await;
    let second = read().await;
    assert_eq!((&second["templateBody"], &second["description"]), (&next["templateBody"], &Value::Null));
    assert_eq!(second["defaultVersionId"], 2);
    let tags = format!("/tags?resourceArn={}", arn.as_str().expect("an ARN").replace(':', "%3A").replace('/', "%2F"));
    assert_eq!(house.does("GET", &tags, Value::Null).await["tags"], json!([{ "Key": "team", "Value": "iot" }]));
    house.does("DELETE", "/provisioning-templates/line", Value::Null).await;
    assert_eq!(
        refused(&house, "GET", "/provisioning-templates/line", Value::Null).await.kind,
        "ResourceNotFoundException"
    );
}

#[tokio::test]
async fn the_index_is_as_it_is() {
    let house = House::open().await;
    let now = house.does("GET", "/indexing/config", Value::Null).await;
    house.does("POST", "/indexing/config", now.clone()).await;
    house
        .does("POST", "/indexing/config", json!({ "thingIndexingConfiguration": { "customFields": [], "filter": {} } }))
        .await;
    for (asked, words) in [
        (
            json!({ "thingIndexingConfiguration": { "thingIndexingMode": "REGISTRY_AND_SHADOW" } }),
            "thingIndexingMode is REGISTRY",
        ),
        (
            json!({ "thingIndexingConfiguration": { "thingConnectivityIndexingMode": "OFF" } }),
            "thingConnectivityIndexingMode is STATUS",
        ),
        (
            json!({ "thingGroupIndexingConfiguration": { "thingGroupIndexingMode": "ON" } }),
            "thingGroupIndexingMode is OFF",
        ),
        (
            json!({ "thingIndexingConfiguration": { "customFields": [{ "name": "a", "type": "Number" }] } }),
            "no fields are declared",
        ),
    ] {
        let other = refused(&house, "POST", "/indexing/config", asked).await;
        assert_eq!(other.kind, "InvalidRequestException");
        says(&other, words);
    }
    assert_eq!(house.does("GET", "/indexing/config", Value::Null).await, now);
}

#[tokio::test]
async fn the_registration_code_is_the_same_while_it_holds() {
    let house = House::open().await;
    let code = async || house.does("GET", "/registrationcode", Value::Null).await["registrationCode"].clone();
    let first = code().await;
    assert_eq!(first.as_str().map(str::len), Some(64));
    assert_eq!(code().await, first);
    let of_beta =
        house.ask(&house.beta, "iot", ("GET", "/registrationcode"), &[], "").await.json["registrationCode"].clone();
    assert_ne!(of_beta, first, "each tenant has its own");
    house.clock.advance(std::time::Duration::from_secs(6 * 24 * 3600 + 1));
    assert_ne!(code().await, first, "it would be over before it is signed");
}

#[tokio::test]
async fn what_is_not_offered_says_what_there_is_instead() {
    let house = House::open().await;
    for (method, target, words) in [
        ("POST", "/rules/to-lambda", "Topic rules"),
        ("POST", "/role-aliases/deploy", "no role aliases"),
        ("POST", "/cacertificate", "wardctl factory-ca register"),
        ("POST", "/billing-groups/b", "billingGroupName"),
        ("GET", "/nothing", "not offered here"),
    ] {
        let answer = refused(&house, method, target, json!({})).await;
        assert_eq!((answer.status, answer.kind.as_str()), (404, "UnknownOperationException"));
        says(&answer, words);
    }
}

#[tokio::test]
async fn a_type_goes_as_soon_as_it_is_deprecated() {
    let house = House::open().await;
    let made =
        json!({ "thingTypeProperties": { "searchableAttributes": ["a"] }, "tags": [{ "Key": "k", "Value": "v" }] });
    house.does("POST", "/thing-types/bulb", made).await;
    let read = async || house.does("GET", "/thing-types/bulb", Value::Null).await;
    assert_eq!(read().await["thingTypeProperties"], json!({ "searchableAttributes": ["a"] }));
    house.does("POST", "/thing-types/bulb/deprecate", json!({ "undoDeprecate": false })).await;
    assert_eq!(read().await["thingTypeMetadata"]["deprecated"], true);
    house.does("POST", "/thing-types/bulb/deprecate", json!({ "undoDeprecate": true })).await;
    assert_eq!(read().await["thingTypeMetadata"]["deprecated"], false);
    house.does("POST", "/thing-types/bulb/deprecate", json!({})).await;
    house.does("DELETE", "/thing-types/bulb", Value::Null).await;
    let gone = refused(&house, "POST", "/thing-types/bulb/deprecate", json!({})).await;
    assert_eq!(gone.kind, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_certificate_that_was_set_aside_can_be_taken_from_its_thing() {
    let house = House::open().await;
    house.does("POST", "/things/gw-1", json!({})).await;
    let csr = crate::probes::request();
    let made = house.does("POST", "/certificates?setAsActive=true", json!({ "certificateSigningRequest": csr })).await;
    let text = |field: &str| made[field].as_str().expect("a text").to_owned();
    let (id, arn) = (text("certificateId"), text("certificateArn"));
    let attachment = async |method: &str| {
        let headers = [("x-amzn-principal", arn.as_str())];
        let answer = house.ask(&house.owner, "iot", (method, "/things/gw-1/principals"), &headers, "").await;
        assert_eq!(answer.status, 200, "{method}: {answer:?}");
    };
    let set = async |status: &str| {
        house.ask(&house.owner, "iot", ("PUT", &format!("/certificates/{id}?newStatus={status}")), &[], "").await.status
    };
    let status = async || {
        let read = house.does("GET", &format!("/certificates/{id}"), Value::Null).await;
        read["certificateDescription"]["status"].clone()
    };
    let held = async || house.does("GET", "/things/gw-1/principals", Value::Null).await["principals"].clone();
    attachment("PUT").await;
    assert_eq!((set("INACTIVE").await, status().await, held().await), (200, json!("INACTIVE"), json!([arn])));
    attachment("DELETE").await;
    assert_eq!((status().await, held().await), (json!("INACTIVE"), json!([])));
    attachment("DELETE").await;
    attachment("PUT").await;
    assert_eq!(
        (status().await, held().await),
        (json!("INACTIVE"), json!([arn])),
        "attached again it counts no more than before"
    );
    assert_eq!((set("ACTIVE").await, status().await), (200, json!("ACTIVE")));
    attachment("DELETE").await;
    attachment("PUT").await;
    assert_eq!(status().await, "ACTIVE", "nobody has said that it does not count");
    assert_eq!(set("INACTIVE").await, 200);
    attachment("DELETE").await;
    house.does("DELETE", &format!("/certificates/{id}"), Value::Null).await;
    house.does("DELETE", "/things/gw-1", Value::Null).await;
}
