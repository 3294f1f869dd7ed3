//! Every operation is tried with another tenant's key, and with a role that lacks its permission.

use fleetward_app::access_keys::NewAccessKey;
use fleetward_app::reconcile;
use fleetward_core::access::{Role, allows};
use fleetward_front_aws::operations::{OPERATIONS, Operation};
use fleetward_pki::{SoftKey, csr, name, pem};
use serde_json::{Value, json};

use crate::house::{Headers, House};

/// What acme has, by its names.
#[derive(Clone)]
struct Known {
    certificate: String,
    arn: String,
}

const TEMPLATE: &str = r#"{"Parameters":{"S":{"Type":"String"}},"Resources":{
    "thing":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":{"Ref":"S"}}},
    "certificate":{"Type":"AWS::IoT::Certificate","Properties":{"CertificateId":{"Ref":"AWS::IoT::Certificate::Id"},"Status":"ACTIVE"}}}}"#;
const POLICY: &str =
    r#"{"Statement":[{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/a"}]}"#;

pub(crate) fn request() -> String {
    let (key, _) = SoftKey::generate();
    pem::write("CERTIFICATE REQUEST", &csr::write(&name::write(None, "x"), &[], &key).expect("a request"))
}

async fn furnish(house: &House) -> Known {
    house.does("POST", "/thing-types/type-1", json!({})).await;
    let watts = json!({ "attributes": { "watts": "60" } });
    house.does("POST", "/things/gw-1", json!({ "thingTypeName": "type-1", "attributePayload": watts })).await;
    house.does("POST", "/dynamic-thing-groups/group-2", json!({ "queryString": "attributes.watts:7" })).await;
    house.does("PUT", "/commands/command-1", json!({ "payload": { "content": "e30=" } })).await;
    house.does("POST", "/thing-groups/group-1", json!({})).await;
    let arn = house
        .does("GET", "/thing-groups/group-1", Value::Null)
        .await
        .get("thingGroupArn")
        .and_then(Value::as_str)
        .expect("an ARN")
        .to_owned();
    let made =
        house.does("POST", "/certificates?setAsActive=true", json!({ "certificateSigningRequest": request() })).await;
    house.does("POST", "/policies/policy-1", json!({ "policyDocument": POLICY })).await;
    house.does("PUT", "/jobs/job-1", json!({ "targets": [arn], "document": "{}" })).await;
    house
        .does("POST", "/provisioning-templates", json!({ "templateName": "template-1", "templateBody": TEMPLATE }))
        .await;
    let certificate = made.get("certificateId").and_then(Value::as_str).expect("an id").to_owned();
    let of_certificate = arn.replace("thinggroup/group-1", &format!("cert/{certificate}"));
    house
        .does("PUT", "/thing-groups/addThingToThingGroup", json!({ "thingName": "gw-1", "thingGroupName": "group-1" }))
        .await;
    let execution = json!({
        "targetArn": arn.replace("thinggroup/group-1", "thing/gw-1"),
        "commandArn": arn.replace("thinggroup/group-1", "command/command-1"),
        "clientToken": "execution-1",
    });
    let execution = execution.to_string();
    let done = [
        ("iot-jobs-data", "POST", "/command-executions", &[] as Headers<'_>, execution.as_str()),
        ("iot", "PUT", "/things/gw-1/principals", &[("x-amzn-principal", of_certificate.as_str())] as Headers<'_>, ""),
        ("iotdata", "POST", "/things/gw-1/shadow", &[], r#"{"state":{"desired":{"a":1}}}"#),
        ("iotdata", "POST", "/topics/site%2Fmode?qos=1&retain=true", &[], "gw-1"),
    ];
    for (service, method, target, headers, body) in done {
        let answer = house.ask(&house.owner, service, (method, target), headers, body).await;
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
    }
    reconcile::jobs::tick(&house.app).await.expect("a turn");
    Known { certificate, arn }
}

impl Known {
    fn target(&self, operation: &Operation) -> String {
        let dynamic = operation.path.starts_with("/dynamic-thing-groups/");
        let path = operation
            .path
            .replace("{thingName}", "gw-1")
            .replace("{thingTypeName}", "type-1")
            .replace("{thingGroupName}", if dynamic { "group-2" } else { "group-1" })
            .replace("{certificateId}", &self.certificate)
            .replace("{policyName}", "policy-1")
            .replace("{policyVersionId}", "1")
            .replace("{jobId}", "job-1")
            .replace("{executionNumber}", "1")
            .replace("{templateName}", "template-1")
            .replace("{versionId}", "1")
            .replace("{indexName}", "AWS_Things")
            .replace("{topic}", "site%2Fmode")
            .replace("{commandId}", "command-1")
            .replace("{executionId}", "execution-1")
            .replace("{target}", &self.arn.replace('/', "%2F"));
        assert!(!path.contains('{'), "{}: a placeholder that the probe does not know", operation.name);
        let query = match operation.name {
            "UpdateCertificate" => "?newStatus=INACTIVE",
            "CreateProvisioningTemplateVersion" => "?setAsDefault=true",
            "Publish" => "?retain=true",
            "ListTagsForResource" => return format!("{path}?resourceArn={}", encoded(&self.arn)),
            "GetCommandExecution" | "DeleteCommandExecution" => {
                return format!("{path}?targetArn={}", encoded(&self.named("thing/gw-1")));
            }
            _ => "",
        };
        format!("{path}{query}")
    }

    /// The name of something else of the same account.
    fn named(&self, what: &str) -> String {
        self.arn.replace("thinggroup/group-1", what)
    }

    fn body(&self, operation: &Operation) -> String {
        let all = json!({
            "thingName": "gw-1", "thingGroupName": "group-1", "thingGroupProperties": { "thingGroupDescription": "x" },
            "certificateSigningRequest": request(), "queryString": "attributes.watts:60", "templateName": "template-2",
            "templateBody": TEMPLATE, "enabled": true, "policyDocument": POLICY, "target": self.arn,
            "resourceArn": self.arn, "tags": [{ "Key": "k", "Value": "v" }], "tagKeys": ["k"],
            "targets": [self.arn], "document": "{}", "description": "x", "state": { "desired": { "a": 1 } },
            "status": "IN_PROGRESS", "aggregationField": "attributes.watts", "bucketsAggregationType": {},
            "payload": { "content": "e30=" }, "targetArn": self.named("thing/gw-1"),
            "commandArn": self.named("command/command-1"),
        });
        if matches!(operation.method, "GET" | "DELETE") { String::new() } else { all.to_string() }
    }

    async fn ask(&self, house: &House, key: &NewAccessKey, operation: &Operation) -> crate::house::Answer {
        let arn = self.arn.replace("thinggroup/group-1", &format!("cert/{}", self.certificate));
        let headers = [
            ("x-amzn-iot-policy", "policy-1"),
            ("x-amzn-iot-principal", arn.as_str()),
            ("x-amzn-principal", arn.as_str()),
        ];
        let (target, body) = (self.target(operation), self.body(operation));
        house.ask(key, operation.service.as_str(), (operation.method, &target), &headers, &body).await
    }
}

fn encoded(arn: &str) -> String {
    arn.replace(':', "%3A").replace('/', "%2F")
}

/// What makes something anew, or shows what is one's own: it is done in the tenant of the key, whatever another one has.
const ANYWHERE: &[&str] = &[
    "CreateCertificateFromCsr",
    "CreateCommand",
    "CreateDynamicThingGroup",
    "CreatePolicy",
    "CreateProvisioningTemplate",
    "CreateThingGroup",
    "CreateThingType",
    "CreateThing",
    "DeleteCommand",
    "DeleteCommandExecution",
    "DeleteDynamicThingGroup",
    "DeleteThing",
    "DeleteThingGroup",
    "DescribeEndpoint",
    "DescribeIndex",
    "GetIndexingConfiguration",
    "GetBucketsAggregation",
    "GetCardinality",
    "GetPercentiles",
    "GetRegistrationCode",
    "GetStatistics",
    "ListCertificates",
    "ListCommands",
    "ListJobs",
    "ListPolicies",
    "ListProvisioningTemplates",
    "ListThingGroups",
    "ListThingTypes",
    "ListThings",
    "ListJobExecutionsForJob",
    "ListRetainedMessages",
    "Publish",
    "SearchIndex",
    "UpdateIndexingConfiguration",
    "ListNamedShadowsForThing",
];

#[tokio::test]
async fn another_tenants_key_reaches_nothing_and_changes_nothing() {
    let house = House::open().await;
    let known = furnish(&house).await;
    let all = async || {
        let mut all = Vec::new();
        for target in [
            "/things/gw-1",
            "/thing-types/type-1",
            "/thing-groups/group-1",
            "/thing-groups/group-2",
            "/commands/command-1",
            &format!("/command-executions/execution-1?targetArn={}", encoded(&known.named("thing/gw-1"))),
            "/policies/policy-1",
            "/jobs/job-1",
            "/provisioning-templates/template-1",
            &format!("/certificates/{}", known.certificate),
            "/things/gw-1/thing-groups",
            "/things",
            "/certificates",
        ] {
            all.push(house.does("GET", target, Value::Null).await);
        }
        all
    };
    let before = all().await;
    // What can be made by beta comes last, or it would have things of the same names.
    let makes = |operation: &&Operation| {
        let name = operation.name;
        (name.starts_with("Create") && ANYWHERE.contains(&name)) || name == "Publish"
    };
    let (last, first): (Vec<&Operation>, Vec<&Operation>) = OPERATIONS.iter().partition(makes);
    // Once by acme's names and once by what would be beta's own, so that not the account number alone keeps them apart.
    let as_betas = Known { arn: of_account(&known.arn, &account(&house, &house.beta).await), ..known.clone() };
    let operations = first.into_iter().chain(last);
    for (operation, known) in operations.flat_map(|operation| [(operation, &known), (operation, &as_betas)]) {
        let answer = known.ask(&house, &house.beta, operation).await;
        if ANYWHERE.contains(&operation.name) {
            assert!(
                !answer.json.to_string().contains("gw-1") || operation.name == "CreateThing",
                "{}: {answer:?}",
                operation.name
            );
            continue;
        }
        assert!((400..500).contains(&answer.status), "{}: {answer:?}", operation.name);
        assert!(!answer.json.to_string().contains("type-1"), "{}: {answer:?}", operation.name);
    }
    assert_eq!(all().await, before, "beta changed something of acme");
}

/// The account number that a key's tenant has in ARNs.
async fn account(house: &House, key: &NewAccessKey) -> String {
    let made = house.ask(key, "iot", ("POST", "/thing-groups/its-own"), &[], "{}").await.json;
    let arn = made.get("thingGroupArn").and_then(Value::as_str).expect("an ARN");
    arn.split(':').nth(4).expect("an account").to_owned()
}

fn of_account(arn: &str, account: &str) -> String {
    let mut parts: Vec<&str> = arn.split(':').collect();
    *parts.get_mut(4).expect("an account") = account;
    parts.join(":")
}

/// What the request of the probe does not do in a house with one of each: why.
const NOT_DONE: &[(&str, &str)] = &[
    ("DeleteThing", "a principal is attached"),
    ("DeleteThingType", "it has to be deprecated first"),
    ("CreateThingGroup", "there is one of the name with other values"),
    ("CreateDynamicThingGroup", "there is one of the name with another question"),
    ("CreateCommand", "there is one of the name with other values"),
    ("DeleteCommandExecution", "it waits for its thing"),
    ("CreateKeysAndCertificate", "keys are made on the device unless the policy says otherwise"),
    ("RegisterCertificate", "refused to everybody; it names `factory-ca`"),
    ("RegisterCertificateWithoutCA", "refused to everybody; it names `factory-ca`"),
    ("DeleteCertificate", "it is active"),
    ("CreatePolicy", "there is one of the name"),
    ("DeletePolicyVersion", "it is the one that counts"),
    ("CreateJob", "there is one of the name"),
    ("DeleteJob", "it is under way"),
    ("DeleteJobExecution", "it is under way"),
    ("AssociateTargetsWithJob", "only a continuous job takes more"),
];

#[tokio::test]
async fn its_own_key_does_what_another_ones_is_refused() {
    let mut found = Vec::new();
    for operation in OPERATIONS {
        let house = House::open().await;
        let known = furnish(&house).await;
        let answer = known.ask(&house, &house.owner, operation).await;
        if answer.status >= 400 && !NOT_DONE.iter().any(|(name, _)| *name == operation.name) {
            found.push(format!("{}: {answer:?}", operation.name));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test]
async fn a_viewer_does_what_a_viewer_may() {
    let house = House::open().await;
    let known = furnish(&house).await;
    for operation in OPERATIONS {
        let answer = known.ask(&house, &house.viewer, operation).await;
        let denied = matches!(answer.kind.as_str(), "AccessDeniedException" | "ForbiddenException");
        let may = allows(Role::Viewer, operation.permission);
        assert_eq!(denied, !may, "{} needs {}: {answer:?}", operation.name, operation.permission.as_str());
    }
}
