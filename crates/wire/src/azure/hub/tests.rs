use proptest::prelude::*;

use super::*;

/// As azure-iot-device 2.14.0 says it.
const PYTHON: &str = "fleet.example/gw-1/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0";

#[test]
fn user_names() {
    let login = Login::parse(PYTHON).expect("a user name");
    let wanted = Login { hub: "fleet.example", device: "gw-1", module: None, api_version: "2019-10-01".to_owned() };
    assert_eq!(login, wanted);
    let module = Login::parse("h/gw-1/m/?api-version=1").expect("a module");
    assert_eq!((module.device, module.module), ("gw-1", Some("m")));
    assert!(Login::parse("h/gw-1/api-version=1").is_some(), "Node's and C's clients write so");
    for bad in ["", "gw-1", "h/gw-1", "h/gw-1/", "h//?api-version=1", "/gw-1/?api-version=1", "h/a/b/c/?api-version=1"]
    {
        assert_eq!(Login::parse(bad), None, "{bad}");
    }
    assert_eq!(Login::parse("h/gw-1//?api-version=1"), None);
    assert_eq!(Login::parse("h/gw-1/?api-version="), None);
}

#[test]
fn requests() {
    for (topic, wanted) in [
        ("$iothub/twin/GET/?$rid=3a5c", Request::TwinGet { rid: "3a5c" }),
        ("$iothub/twin/PATCH/properties/reported/?$rid=1", Request::TwinReported { rid: "1" }),
        ("$iothub/twin/PATCH/properties/reported/?$rid=1&$version=4", Request::TwinReported { rid: "1" }),
        ("$iothub/methods/res/200/?$rid=a", Request::MethodAnswer { status: 200, rid: "a" }),
        ("$iothub/methods/res/-1/?$rid=a", Request::MethodAnswer { status: -1, rid: "a" }),
    ] {
        assert_eq!(Request::parse(topic), Some(wanted), "{topic}");
        assert_eq!(Request::parse(topic).map(|request| request.rid()), Some(wanted.rid()));
    }
    for bad in [
        "$iothub/twin/GET/",
        "$iothub/twin/GET/?",
        "$iothub/twin/GET/?$rid=",
        "$iothub/twin/GET/?$rid=a/b",
        "$iothub/twin/GET/x/?$rid=1",
        "$iothub/twin/PATCH/properties/desired/?$rid=1",
        "$iothub/twin/res/200/?$rid=1",
        "$iothub/methods/POST/reboot/?$rid=1",
        "$iothub/methods/res/ok/?$rid=1",
        "$iothub/methods/res/+1/?$rid=1",
        "$iothub/methods/res/99999999999/?$rid=1",
        "$iothub/methods/res/200?$rid=1",
        "iothub/twin/GET/?$rid=1",
    ] {
        assert_eq!(Request::parse(bad), None, "{bad}");
    }
    assert_eq!(Request::parse(&format!("$iothub/twin/GET/?$rid={}", "x".repeat(65))), None);
}

#[test]
fn what_the_server_says() {
    assert_eq!(twin_answer(204, "7", Some(3)), "$iothub/twin/res/204/?$rid=7&$version=3");
    assert_eq!(twin_answer(429, "7", None), "$iothub/twin/res/429/?$rid=7");
    assert_eq!(twin_change(9), "$iothub/twin/PATCH/properties/desired/?$version=9");
    assert_eq!(method_call("reboot", "1"), "$iothub/methods/POST/reboot/?$rid=1");
    assert_eq!(method_call("a+b", "1"), "$iothub/methods/POST/a%2Bb/?$rid=1", "no wildcard in a topic");
    assert!(is_method_name("get.max-min_report") && is_method_name(&"x".repeat(64)));
    for bad in ["", "a b", "a/b", "a#", "ä", &"x".repeat(65)] {
        assert!(!is_method_name(bad), "{bad}");
    }
}

#[test]
fn messages_have_their_properties_in_the_topic() {
    let topic = "devices/gw-1/messages/events/%24.mid=1&%24.ct=application%2Fjson&alert=&seen";
    let (device, way, level) = parse_messages(topic).expect("a message");
    let found = Properties::parse(level).expect("properties");
    assert_eq!((device, way), ("gw-1", Way::Events));
    assert_eq!(found.get("$.ct"), Some("application/json"));
    assert_eq!((found.get("alert"), found.get("seen"), found.get("x")), (Some(""), None, None));
    assert_eq!(messages("gw-1", Way::Events, &found), topic);
    assert_eq!(parse_messages("devices/gw-1/messages/events/").map(|found| found.2), Some(""));
    assert_eq!(messages("gw-1", Way::Devicebound, &Properties::default()), "devices/gw-1/messages/devicebound/");
    for bad in [
        "devices/gw-1/messages/events",
        "devices/gw-1/messages/events/a=1/b",
        "devices//messages/events/",
        "devices/gw-1/messages/other/",
        "devices/gw-1/modules/m/messages/events/",
        "telemetry/gw-1/messages/events/",
    ] {
        assert_eq!(parse_messages(bad), None, "{bad}");
    }
    assert_eq!(Properties::parse("%ff=1"), None);
    assert_eq!(Properties::parse("a=%ff"), None);
    assert_eq!(Properties::parse("=1"), None);
    assert_eq!(Properties::parse("a=1&&b=2&"), Properties::parse("a=1&b=2"));
}

proptest! {
    #[test]
    fn properties_come_back(
        bag in prop::collection::vec((".{1,12}", prop::option::of(".{0,12}")), 0..8), device in "[a-zA-Z0-9:_-]{1,128}",
    ) {
        let bag = Properties(bag);
        let topic = messages(&device, Way::Devicebound, &bag);
        prop_assert!(!topic.contains(['+', '#', '\0']));
        let (known, way, level) = parse_messages(&topic).expect("its own text");
        prop_assert_eq!((known, way), (device.as_str(), Way::Devicebound));
        prop_assert_eq!(Properties::parse(level), Some(bag));
    }

    #[test]
    fn any_text_is_taken(text in "(\\$iothub/|devices/)?.{0,40}(/[a-zA-Z?$=&%+#-]{0,12}){0,6}") {
        drop((Login::parse(&text), Request::parse(&text), Properties::parse(&text)));
        if let Some((device, way, level)) = parse_messages(&text) {
            prop_assert!(text.starts_with("devices/") && !level.contains('/'));
            if let Some(bag) = Properties::parse(level) {
                prop_assert!(parse_messages(&messages(device, way, &bag)).is_some());
            }
        }
    }
}
