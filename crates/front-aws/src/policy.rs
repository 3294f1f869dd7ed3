//! AWS's policy documents, translated to ours and back.
//!
//! What is translated: `iot:Connect`, `Publish`, `Receive`, `RetainPublish` and `Subscribe` on `client/`, `topic/` and
//! `topicfilter/`, with `*` and the variables of a connection. What our built-in rights give anyway (topics that begin with
//! `$`, actions of the data plane) is left out where it is allowed. What cannot be said here is refused with its reason, so
//! that no policy means less, or more, than it says: `?`, conditions, a deny of what cannot be denied.

use std::collections::BTreeSet;

use fleetward_base::limits;
use fleetward_core::topic_policy::{Act, Document, EVENTS, Effect, Statement, Template};
use serde::Deserialize;
use serde_json::{Value, json};

/// A document that is not taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Source {
    statement: OneOrMany<SourceStatement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SourceStatement {
    effect: String,
    action: Option<OneOrMany<String>>,
    resource: Option<OneOrMany<String>>,
    condition: Option<Value>,
    not_action: Option<Value>,
    not_resource: Option<Value>,
    principal: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    fn list(self) -> Vec<T> {
        match self {
            Self::Many(list) => list,
            Self::One(one) => vec![one],
        }
    }
}

/// What a resource is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Client,
    Topic,
    Filter,
}

/// # Errors
/// [`Malformed`] with the statement and the reason.
pub(crate) fn read(text: &str) -> Result<Document, Malformed> {
    if text.len() > limits::POLICY_SOURCE_BYTES {
        return Err(Malformed(format!("longer than {} bytes", limits::POLICY_SOURCE_BYTES)));
    }
    let source: Source =
        serde_json::from_str(text).map_err(|_| Malformed("not a policy document with a Statement".to_owned()))?;
    let mut statements = Vec::new();
    for (at, statement) in source.statement.list().into_iter().enumerate() {
        let found = translated(statement).map_err(|why| Malformed(format!("Statement[{at}]: {why}")))?;
        statements.extend(found);
    }
    if statements.is_empty() {
        // All that it says is given anyway. A document here says something: that whoever may come in, may.
        statements.push(Statement { effect: Effect::Allow, actions: [Act::Connect].into(), topics: Vec::new() });
    }
    let document = Document { statements };
    document.check().map_err(|invalid| Malformed(invalid.to_string()))?;
    Ok(document)
}

fn translated(source: SourceStatement) -> Result<Vec<Statement>, String> {
    if source.not_action.is_some() || source.not_resource.is_some() || source.principal.is_some() {
        return Err("NotAction, NotResource and Principal are not offered".to_owned());
    }
    let effect = match source.effect.as_str() {
        "Allow" => Effect::Allow,
        "Deny" => Effect::Deny,
        _ => return Err("Effect must be Allow or Deny".to_owned()),
    };
    condition(source.condition.as_ref(), effect)?;
    let actions = source.action.map(OneOrMany::list).unwrap_or_default();
    let resources = source.resource.map(OneOrMany::list).unwrap_or_default();
    if actions.is_empty() || resources.is_empty() {
        return Err("Action and Resource must be there".to_owned());
    }
    if actions.len() > limits::POLICY_SOURCE_PARTS || resources.len() > limits::POLICY_SOURCE_PARTS {
        return Err(format!("more than {} actions or resources", limits::POLICY_SOURCE_PARTS));
    }
    let acts = acts(&actions, effect)?;
    let mut statements = Vec::new();
    for (kind, mine) in [
        (Kind::Client, [Act::Connect].as_slice()),
        (Kind::Topic, &[Act::Publish, Act::Receive, Act::Retain]),
        (Kind::Filter, &[Act::Subscribe]),
    ] {
        let meant: BTreeSet<Act> = mine.iter().copied().filter(|act| acts.contains(act)).collect();
        if meant.is_empty() {
            continue;
        }
        let mut topics = Vec::new();
        for resource in &resources {
            topics.extend(topic(resource, kind, effect)?);
        }
        match kind {
            Kind::Client if topics.is_empty() => {}
            Kind::Client => statements.push(Statement { effect, actions: meant, topics: Vec::new() }),
            _ => {
                // Of events a statement gives the hearing and nothing else.
                let hears = effect == Effect::Allow;
                let (events, topics): (Vec<_>, Vec<_>) =
                    topics.into_iter().partition(|topic: &Template| hears && topic.as_str().starts_with(EVENTS));
                let heard: BTreeSet<Act> =
                    meant.iter().copied().filter(|act| matches!(act, Act::Subscribe | Act::Receive)).collect();
                let parts = [(meant, topics), (heard, events)].into_iter();
                let said = parts.filter(|(actions, topics)| !actions.is_empty() && !topics.is_empty());
                statements.extend(said.map(|(actions, topics)| Statement { effect, actions, topics }));
            }
        }
    }
    Ok(statements)
}

/// The one condition that is always met here; any other would have to be asked with each message.
fn condition(condition: Option<&Value>, effect: Effect) -> Result<(), String> {
    let Some(condition) = condition.filter(|value| value.as_object().is_none_or(|fields| !fields.is_empty())) else {
        return Ok(());
    };
    let attached = condition.pointer("/Bool/iot:Connection.Thing.IsAttached").filter(|_| effect == Effect::Allow);
    let alone = condition.as_object().is_some_and(|fields| fields.len() == 1)
        && condition.get("Bool").and_then(Value::as_object).is_some_and(|fields| fields.len() == 1);
    let says_true = |value: &Value| value == &json!("true") || value == &json!(true);
    let met = attached.is_some_and(|value| match value {
        Value::Array(list) => !list.is_empty() && list.iter().all(says_true),
        one => says_true(one),
    });
    if alone && met {
        Ok(())
    } else {
        Err("of conditions only Bool iot:Connection.Thing.IsAttached true is offered".to_owned())
    }
}

fn acts(actions: &[String], effect: Effect) -> Result<BTreeSet<Act>, String> {
    let mut acts = BTreeSet::new();
    for action in actions {
        match action.to_ascii_lowercase().as_str() {
            "*" | "iot:*" => acts.extend(Act::ALL),
            "iot:connect" => drop(acts.insert(Act::Connect)),
            "iot:publish" => drop(acts.insert(Act::Publish)),
            "iot:receive" => drop(acts.insert(Act::Receive)),
            "iot:subscribe" => drop(acts.insert(Act::Subscribe)),
            "iot:retainpublish" => drop(acts.insert(Act::Retain)),
            // What a device may do with its own state and jobs does not come from policies.
            other if other.starts_with("iot:") && effect == Effect::Allow => {}
            other if other.starts_with("iot:") => return Err("this action cannot be denied here".to_owned()),
            _ => return Err("an action that is not of iot".to_owned()),
        }
    }
    Ok(acts)
}

/// The topic that a resource stands for, if it is of this kind and not given anyway.
fn topic(resource: &str, kind: Kind, effect: Effect) -> Result<Option<Template>, String> {
    if resource.contains('?') {
        return Err("? in a resource is not offered".to_owned());
    }
    let text = if resource == "*" {
        "*"
    } else {
        let rest = resource.strip_prefix("arn:").and_then(|rest| rest.splitn(5, ':').nth(4));
        let rest = rest.ok_or_else(|| "a resource that is no ARN".to_owned())?;
        let (name, text) = match rest {
            "*" => ("*", "*"),
            rest => rest.split_once('/').ok_or_else(|| "a resource without a kind".to_owned())?,
        };
        let found = match name {
            "*" => kind,
            "client" => Kind::Client,
            "topic" => Kind::Topic,
            "topicfilter" => Kind::Filter,
            // Things and the like stand beside actions of the data plane.
            _ if effect == Effect::Allow => return Ok(None),
            _ => return Err("this resource cannot be denied here".to_owned()),
        };
        if found != kind {
            return Ok(None);
        }
        text
    };
    let text = variables(text)?;
    if kind == Kind::Client {
        let anybody = text == "*" || text == "${device}";
        // A device has its own name as its id; who it may be called is not the policy's to say.
        if effect == Effect::Deny && !anybody {
            return Err("a deny of single client ids cannot be kept; attach the policy to the devices".to_owned());
        }
        return "connect".parse().map(Some).map_err(|_| String::new());
    }
    if effect == Effect::Allow && text.starts_with('$') && !text.starts_with("${") && !text.starts_with(EVENTS) {
        return Ok(None);
    }
    // AWS takes + and # of a topic as letters, which no topic has.
    if kind == Kind::Topic && text.split('/').any(|level| matches!(level, "+" | "#")) {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: fleetward_core::topic_policy::template::BadTemplate| error.to_string())
}

const VARIABLES: [(&str, &str); 8] = [
    ("iot:ClientId", "device"),
    ("iot:Connection.Thing.ThingName", "device"),
    ("iot:Connection.Thing.ThingTypeName", "attribute:thing_type"),
    ("iot:CertificateId", "certificate:fingerprint"),
    ("iot:Certificate.Subject.CommonName", "certificate:subject.cn"),
    ("iot:Certificate.Subject.Organization", "certificate:subject.o"),
    ("iot:Certificate.Issuer.CommonName", "certificate:issuer.cn"),
    ("iot:Certificate.Issuer.Organization", "certificate:issuer.o"),
];
const ATTRIBUTE: &str = "iot:Connection.Thing.Attributes[";

/// Our variables in place of AWS's.
fn variables(text: &str) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("${") {
        let (name, behind) = behind.split_once('}').ok_or_else(|| "a ${ that does not end".to_owned())?;
        let known = VARIABLES.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| (*ours).to_owned());
        let attribute = || Some(format!("attribute:{}", name.strip_prefix(ATTRIBUTE)?.strip_suffix(']')?));
        let ours = known.or_else(attribute).ok_or_else(|| "a variable that is not offered".to_owned())?;
        out.push_str(&format!("{before}${{{ours}}}"));
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// A document of ours in AWS's language, for policies that were not written in it.
pub(crate) fn write(document: &Document, arn: impl Fn(&str, &str) -> String) -> String {
    let mut statements = Vec::new();
    for statement in &document.statements {
        let effect = if statement.effect == Effect::Allow { "Allow" } else { "Deny" };
        for (kind, mine) in [
            ("client", [Act::Connect].as_slice()),
            ("topic", &[Act::Publish, Act::Receive, Act::Retain]),
            ("topicfilter", &[Act::Subscribe]),
        ] {
            let actions: Vec<&str> =
                mine.iter().filter(|act| statement.actions.contains(act)).map(|act| theirs(*act)).collect();
            if actions.is_empty() {
                continue;
            }
            let resources: Vec<String> = match kind {
                "client" => vec![arn(kind, "*")],
                _ => statement.topics.iter().map(|topic| arn(kind, &back(topic.as_str(), kind))).collect(),
            };
            statements.push(json!({ "Effect": effect, "Action": actions, "Resource": resources }));
        }
    }
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

const fn theirs(act: Act) -> &'static str {
    match act {
        Act::Connect => "iot:Connect",
        Act::Publish => "iot:Publish",
        Act::Retain => "iot:RetainPublish",
        Act::Subscribe => "iot:Subscribe",
        Act::Receive => "iot:Receive",
    }
}

/// AWS has no wildcards of levels in topics; what it has instead is wider by the slashes.
fn back(text: &str, kind: &str) -> String {
    let mut text = text.to_owned();
    for (theirs, ours) in VARIABLES.iter().skip(1) {
        text = text.replace(&format!("${{{ours}}}"), &format!("${{{theirs}}}"));
    }
    if kind == "topic" {
        let levels: Vec<&str> =
            text.split('/').map(|level| if matches!(level, "+" | "#") { "*" } else { level }).collect();
        text = levels.join("/");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:iot:eu-central-1:123456789012:";

    fn document(effect: &str, actions: &str, resource: &str) -> String {
        let resource = if resource == "*" { resource.to_owned() } else { format!("{ARN}{resource}") };
        let statement =
            json!({ "Effect": effect, "Action": actions.split(' ').collect::<Vec<_>>(), "Resource": resource });
        json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
    }

    fn check(text: &str, expected: Value) {
        let found = read(text).map(|document| serde_json::to_value(document).expect("JSON"));
        assert_eq!(found, Ok(json!({ "statements": expected })), "{text}");
    }

    #[test]
    fn what_policies_of_devices_say() {
        check(
            &document("Allow", "iot:Publish iot:Receive", "topic/plants/${iot:Connection.Thing.ThingName}/*"),
            json!([{ "effect": "allow", "actions": ["publish", "receive"], "topics": ["plants/${device}/*"] }]),
        );
        check(
            &document("Allow", "iot:Subscribe", "topicfilter/plants/+/${iot:ClientId}/#"),
            json!([{ "effect": "allow", "actions": ["subscribe"], "topics": ["plants/+/${device}/#"] }]),
        );
        check(
            &document("Allow", "iot:Connect", "client/${iot:Connection.Thing.ThingName}"),
            json!([{ "effect": "allow", "actions": ["connect"] }]),
        );
        check(
            &document("Deny", "iot:Publish", "topic/plants/${iot:Connection.Thing.Attributes[plant]}/x"),
            json!([{ "effect": "deny", "actions": ["publish"], "topics": ["plants/${attribute:plant}/x"] }]),
        );
        check(
            &document("Allow", "iot:*", "*"),
            json!([
                { "effect": "allow", "actions": ["connect"] },
                { "effect": "allow", "actions": ["publish", "retain", "receive"], "topics": ["*"] },
                { "effect": "allow", "actions": ["subscribe"], "topics": ["*"] },
            ]),
        );
    }

    #[test]
    fn events_may_be_heard() {
        check(
            &document("Allow", "iot:Subscribe", "topicfilter/$aws/events/job/*"),
            json!([{ "effect": "allow", "actions": ["subscribe"], "topics": ["$aws/events/job/*"] }]),
        );
        check(
            &document("Allow", "iot:*", "topic/$aws/events/jobExecution/*"),
            json!([{ "effect": "allow", "actions": ["receive"], "topics": ["$aws/events/jobExecution/*"] }]),
        );
    }

    #[test]
    fn what_is_given_anyway_is_left_out() {
        let connect = json!([{ "effect": "allow", "actions": ["connect"] }]);
        check(
            &document("Allow", "iot:Publish", "topic/$aws/things/${iot:Connection.Thing.ThingName}/shadow/*"),
            connect.clone(),
        );
        check(&document("Allow", "iot:GetThingShadow iot:UpdateThingShadow", "thing/*"), connect.clone());
        check(&document("Allow", "iot:Publish", "topic/a/#"), connect);
        let attached = r#"{"Statement":{"Effect":"Allow","Action":"iot:Connect","Resource":"*",
            "Condition":{"Bool":{"iot:Connection.Thing.IsAttached":["true"]}}}}"#;
        check(attached, json!([{ "effect": "allow", "actions": ["connect"] }]));
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for text in [
            "",
            "{}",
            r#"{"Statement":[]"#,
            &document("allow", "iot:Connect", "*"),
            &document("Allow", "s3:GetObject", "*"),
            &document("Deny", "iot:GetThingShadow", "thing/*"),
            &document("Deny", "iot:Connect", "client/gw-1"),
            &document("Allow", "iot:Publish", "topic/a?"),
            &document("Allow", "iot:Publish", "topic/${iot:SourceIp}"),
            &document("Allow", "iot:Publish", "topic/${iot:ClientId"),
            &document("Allow", "iot:Publish", "topic"),
            r#"{"Statement":{"Effect":"Allow","Action":"iot:Connect","Resource":"*","Condition":{"IpAddress":{}}}}"#,
            r#"{"Statement":{"Effect":"Allow","NotAction":"iot:Connect","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Allow","Action":"iot:Connect"}}"#,
            &format!("{:9000}", "{"),
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        for text in [
            document("Allow", "iot:Publish iot:Receive", "topic/plants/${iot:Connection.Thing.ThingName}/*"),
            document("Deny", "iot:Subscribe", "topicfilter/x/+/y/#"),
            document("Allow", "iot:Connect", "client/*"),
        ] {
            let document = read(&text).expect("it reads");
            assert_eq!(read(&write(&document, |kind, name| format!("{ARN}{kind}/{name}"))), Ok(document), "{text}");
        }
    }
}
