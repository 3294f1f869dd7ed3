use std::collections::BTreeMap;

use fleetward_base::{Timestamp, limits};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::registry::{Class, Device, Scalar};

fn certificate() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("AWS::IoT::Certificate::Id", "c0ffee".to_owned()),
        ("AWS::IoT::Certificate::CommonName", "gw-7".to_owned()),
        ("AWS::IoT::Certificate::Country", "DE".to_owned()),
    ])
}

fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A template with one attribute, `x`, and what it evaluates to.
fn attribute(expression: serde_json::Value) -> Result<String, String> {
    let template = json!({
        "Parameters": { "Name": { "Type": "String" }, "Place": { "Type": "String", "Default": "a,b,c" } },
        "Mappings": { "Urls": { "EU": { "mqtt": "eu.example", "ports": ["1", "2"] } } },
        "Resources": { "thing": { "Type": "AWS::IoT::Thing", "Properties": {
            "ThingName": { "Ref": "Name" }, "AttributePayload": { "x": expression }
        } } }
    });
    let template = Template::parse(&template.to_string()).map_err(|error| error.to_string())?;
    let plan = template.evaluate(&given(&[("Name", "gw-1")]), &certificate()).map_err(|error| error.to_string())?;
    Ok(plan.attributes["x"].clone())
}

fn check(expression: serde_json::Value, expect: &str) {
    assert_eq!(attribute(expression), Ok(expect.to_owned()));
}

fn refused(expression: serde_json::Value, expect: &str) {
    assert_eq!(attribute(expression), Err(expect.to_owned()));
}

#[test]
fn functions() {
    check(json!("text"), "text");
    check(json!(7), "7");
    check(json!({"Ref": "Name"}), "gw-1");
    check(json!({"Ref": "AWS::IoT::Certificate::Country"}), "DE");
    check(json!({"Fn::Join": ["-", ["a", {"Ref": "Name"}, 3]]}), "a-gw-1-3");
    check(json!({"Fn::Join": ["", []]}), "");
    check(json!({"Fn::Sub": "x/${Name}/${AWS::IoT::Certificate::CommonName}/${!Name}/$"}), "x/gw-1/gw-7/${Name}/$");
    check(json!({"Fn::Sub": ["${a}${Name}", {"a": {"Fn::Join": [".", ["p", "q"]]}}]}), "p.qgw-1");
    check(json!({"Fn::Select": [1, {"Fn::Split": [",", {"Ref": "Place"}]}]}), "b");
    check(json!({"Fn::Select": ["0", ["one", "two"]]}), "one");
    check(json!({"Fn::FindInMap": ["Urls", "EU", "mqtt"]}), "eu.example");
    check(json!({"Fn::Join": [":", {"Fn::FindInMap": ["Urls", "EU", "ports"]}]}), "1:2");
    check(json!({"Fn::Join": ["", [{"Fn::Select": ["1", {"Fn::Split": ["-", {"Fn::Sub": "${Name}"}]}]}, "!"]]}), "1!");
}

#[test]
fn errors_name_the_path() {
    let at = |rest: &str| format!("Resources.thing.Properties.AttributePayload.x.{rest}");
    refused(json!({"Ref": "Nobody"}), &at("Ref: there is no parameter \"Nobody\""));
    refused(json!({"Fn::Sub": "${Nobody}"}), &at("Fn::Sub: there is no parameter \"Nobody\""));
    refused(json!({"Fn::Sub": "${Name"}), &at("Fn::Sub: a ${ without its }"));
    refused(json!({"Fn::Join": ["-"]}), &at("Fn::Join: takes a delimiter and a list of values"));
    refused(json!({"Fn::Join": ["-", "a"]}), &at("Fn::Join[1]: must be a list"));
    refused(
        json!({"Fn::GetAtt": ["a", "b"]}),
        &at("Fn::GetAtt: no such function; there are Ref, Fn::Join, Fn::Sub, Fn::Select, Fn::Split and Fn::FindInMap"),
    );
    refused(json!({"Ref": "Name", "x": 1}), &at("Ref: a function stands alone in its object"));
    refused(json!({"a": 1, "Ref": "Name"}), &at("Ref: a function stands alone in its object"));
    refused(json!({"Fn::FindInMap": ["No", "a", "b"]}), &at("Fn::FindInMap: there is no Mappings.\"No\""));
    refused(
        json!({"Fn::FindInMap": ["Urls", {"Ref": "Name"}, "mqtt"]}),
        &at("Fn::FindInMap: there is nothing at \"Urls\", \"gw-1\", \"mqtt\""),
    );
    refused(json!({"Fn::Select": [3, ["a"]]}), &at("Fn::Select: there is no value 3 in a list of 1"));
    refused(json!({"Fn::Select": ["x", ["a"]]}), &at("Fn::Select: \"x\" is no index"));
    refused(json!({"a": "b"}), "Resources.thing.Properties.AttributePayload.x: is an object where a text is wanted");
    refused(json!(null), "Resources.thing.Properties.AttributePayload.x: is null");
}

fn parse(text: &str) -> Result<Template, String> {
    Template::parse(text).map_err(|error| error.to_string())
}

#[test]
fn what_is_no_template() {
    let refused = |text: &str, expect: &str| assert_eq!(parse(text).map(drop), Err(expect.to_owned()), "{text}");
    refused("[]", "must be an object");
    refused("{}", "Resources: is missing");
    refused(r#"{"Resources":{}}"#, "Resources: has no AWS::IoT::Thing");
    refused(r#"{"Outputs":{},"Resources":{}}"#, "Outputs: not a section of a provisioning template");
    refused(
        r#"{"Resources":{"t":{"Type":"AWS::S3::Bucket"}}}"#,
        "Resources.t.Type: must be AWS::IoT::Thing, AWS::IoT::Certificate or AWS::IoT::Policy",
    );
    refused(
        r#"{"Parameters":{"AWS::Region":{"Type":"String"}},"Resources":{}}"#,
        &format!("Parameters.AWS::Region: no such pseudo parameter; there are {}", PSEUDO.join(", ")),
    );
    refused(
        r#"{"Parameters":{"A":{"Type":"Number"}},"Resources":{}}"#,
        "Parameters.A.Type: must be \"String\", as AWS has it",
    );
    refused(
        r#"{"Mappings":{"M":{"a":{"b":{"Ref":"A"}}}},"Resources":{}}"#,
        "Mappings.M.a.b: must be a text or a list of texts, without functions",
    );
    let deep = format!("{{\"Resources\":{}{}}}", "{\"a\":".repeat(30), "1".to_owned() + &"}".repeat(30));
    refused(&deep, "nests deeper than 20 levels");
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(limits::TEMPLATE_BYTES));
    refused(&long, "longer than 32768 bytes");
}

/// The examples of AWS's own guide, one for a fleet and one for a factory's authority.
#[test]
fn templates_of_others_are_taken_as_they_are() {
    let template = parse(include_str!("../../golden/template-fleet.json")).expect("a template");
    let parameters = given(&[("SerialNumber", "17"), ("DeviceLocation", "Seattle")]);
    let plan = template.evaluate(&parameters, &certificate()).expect("a plan");
    assert_eq!(plan.device.as_str(), "17");
    assert_eq!(plan.kind.as_deref(), Some("ThingPrefix_17"));
    assert_eq!(plan.groups.iter().map(String::as_str).collect::<Vec<_>>(), ["WA", "v1-lightbulbs"]);
    assert_eq!(plan.billing_group.as_deref(), Some("LightBulbBillingGroup"));
    assert!(plan.active);
    assert_eq!(
        serde_json::Value::Object(plan.configuration),
        json!({"FallbackUrl": "https://www.example.com/test-site", "LocationUrl": "https://example.aws"})
    );
    assert_eq!(template.warnings.len(), 2, "{:?}", template.warnings);

    let template = parse(include_str!("../../golden/template-jitp.json")).expect("a registration configuration");
    let missing = template.evaluate(&BTreeMap::new(), &certificate()).expect_err("no serial number");
    assert_eq!(missing.to_string(), "Parameters.AWS::IoT::Certificate::SerialNumber: the certificate does not say it");
    let mut certificate = certificate();
    certificate.insert("AWS::IoT::Certificate::SerialNumber", "s-1".to_owned());
    let plan = template.evaluate(&BTreeMap::new(), &certificate).expect("a plan");
    assert_eq!((plan.device.as_str(), plan.attributes["serialNumber"].as_str()), ("gw-7", "s-1"));
    assert_eq!(plan.overrides.attributes, Some(Override::Merge));
}

fn plain(parameters: &[(&str, &str)]) -> Result<Plan, String> {
    let template = json!({
        "Parameters": { "Name": { "Type": "String" }, "AWS::IoT::Certificate::Country": { "Type": "String" } },
        "Resources": { "thing": { "Type": "AWS::IoT::Thing", "Properties": {
            "ThingName": { "Ref": "Name" }, "ThingGroups": [{ "Ref": "AWS::IoT::Certificate::Country" }],
            "ThingTypeName": "Gateway", "AttributePayload": { "hardware": "rev-b", "batch": "9" }
        }, "OverrideSettings": { "ThingGroups": "MERGE", "AttributePayload": "REPLACE", "ThingTypeName": "FAIL" } } }
    });
    let template = Template::parse(&template.to_string()).map_err(|error| error.to_string())?;
    template.evaluate(&given(parameters), &certificate()).map_err(|error| error.to_string())
}

#[test]
fn a_device_does_not_speak_for_its_certificate() {
    assert_eq!(
        plain(&[("Name", "a"), ("AWS::IoT::Certificate::Country", "US")]),
        Err("parameters.AWS::IoT::Certificate::Country: comes from the certificate, not from the device".to_owned())
    );
    for name in ["urn:fleetward:other:gw/x", "a/b", "a\u{0}", "", "+", "a b"] {
        assert!(plain(&[("Name", name)]).is_err(), "{name:?} would be a device's name");
    }
    assert_eq!(plain(&[]), Err("Parameters.Name: has no value and no default".to_owned()));
}

#[test]
fn a_plan_becomes_a_record() {
    let plan = plain(&[("Name", "gw-1"), ("Unused", "x")]).expect("a plan");
    let now = Timestamp::from_secs(1);
    let device = Device::new(plan.device.clone(), now);
    let made = device.amend(plan.fields(None).expect("fields"), now).expect("a record");
    assert_eq!((made.class, made.hardware.as_str()), (Class::Gateway, "rev-b"));
    assert_eq!(made.tags.iter().collect::<Vec<_>>(), ["DE"]);
    assert_eq!(made.attributes["batch"], Scalar::Text("9".to_owned()));
    assert_eq!(made.attributes["thing_type"], Scalar::Text("Gateway".to_owned()));

    let mut known = made.clone();
    known.tags.insert("old".to_owned());
    known.attributes.insert("other".to_owned(), Scalar::Bool(true));
    let again = known.amend(plan.fields(Some(&known)).expect("fields"), now).expect("a record");
    assert_eq!(again.tags.iter().collect::<Vec<_>>(), ["DE", "old"], "merged");
    assert!(!again.attributes.contains_key("other"), "replaced");
    assert!(again.attributes.contains_key("thing_type"));
    known.attributes.insert("thing_type".to_owned(), Scalar::Text("Sensor".to_owned()));
    let error = plan.fields(Some(&known)).expect_err("another type");
    assert_eq!(
        error.to_string(),
        "Resources.thing.Properties.ThingTypeName: the device gw-1 is known with other values"
    );
}

#[test]
fn what_is_written_is_bounded() {
    let mut expression = json!({"Ref": "Place"});
    for _ in 0..3 {
        expression = json!({"Fn::Sub": ["${a}".repeat(60), {"a": expression}]});
    }
    let error = attribute(expression).expect_err("too much");
    assert!(error.ends_with("the template writes more than 65536 bytes"), "{error}");
}

fn expression() -> impl Strategy<Value = serde_json::Value> {
    let text =
        prop_oneof!["[a-z,]{0,9}", Just("${Name}${a}".to_owned()), Just("Urls".to_owned()), Just("1".to_owned())];
    let leaf = prop_oneof![
        text.clone().prop_map(serde_json::Value::String),
        any::<i32>().prop_map(|n| json!(n)),
        prop_oneof![Just("Name"), Just("Place"), Just("No")].prop_map(|name| json!({"Ref": name})),
    ];
    leaf.prop_recursive(6, 60, 4, move |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            (text.clone(), list.clone()).prop_map(|(by, list)| json!({"Fn::Join": [by, list]})),
            (text.clone(), inner.clone()).prop_map(|(by, of)| json!({"Fn::Split": [by, of]})),
            (inner.clone(), inner.clone()).prop_map(|(index, of)| json!({"Fn::Select": [index, of]})),
            (text.clone(), inner.clone()).prop_map(|(text, a)| json!({"Fn::Sub": [text, {"a": a}]})),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"Fn::FindInMap": ["Urls", a, b]})),
            list.prop_map(serde_json::Value::Array),
            prop::collection::btree_map("[a-zR]{1,3}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn any_expression_is_evaluated_or_refused(expression in expression()) {
        if let Ok(text) = attribute(expression) {
            prop_assert!(text.len() <= limits::TEMPLATE_OUTPUT_BYTES);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        drop(Template::parse(&text));
    }
}
