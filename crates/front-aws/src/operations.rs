//! Every operation: its name, service, method, path and permission, and the function that translates it.
//!
//! The permission is enforced by the use case; it stands here for people, and a test holds the two together.

mod certificates;
mod commands;
mod dynamic_groups;
mod endpoint;
mod groups;
mod jobs;
mod jobs_data;
mod labels;
mod messages;
mod policies;
mod refused;
mod registration;
mod search;
mod shadows;
mod templates;
mod things;
mod types;

use fleetward_core::access::Permission;
use futures::future::BoxFuture;
use percent_encoding::percent_decode_str;

use crate::answer::{Answer, Refusal};
use crate::call::Call;
use crate::gate::Entered;

/// Which of AWS's services is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Control plane.
    Iot,
    /// Shadows and messages.
    Data,
    /// Executions of jobs, as devices have them.
    Jobs,
}

impl Service {
    /// By the name that clients sign for.
    pub(crate) fn signed_as(name: &str) -> Option<Self> {
        match name {
            "iot" => Some(Self::Iot),
            "iotdata" => Some(Self::Data),
            "iot-jobs-data" => Some(Self::Jobs),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iot => "iot",
            Self::Data => "iotdata",
            Self::Jobs => "iot-jobs-data",
        }
    }
}

type Handler = for<'c> fn(&'c Call<'c>) -> BoxFuture<'c, Result<Answer, Refusal>>;

/// One operation.
pub struct Operation {
    pub name: &'static str,
    pub service: Service,
    pub method: &'static str,
    /// With `{name}` for a part that a caller fills in.
    pub path: &'static str,
    pub permission: Permission,
    pub(crate) handler: Handler,
}

macro_rules! operations {
    ($($service:ident $method:literal $path:literal $name:ident $permission:ident $module:ident::$function:ident;)+) => {
        /// All of them. Where two paths fit, the first one is meant.
        pub static OPERATIONS: &[Operation] = &[$(Operation {
            name: stringify!($name),
            service: Service::$service,
            method: $method,
            path: $path,
            permission: Permission::$permission,
            handler: |call| Box::pin($module::$function(call)),
        }),+];
    };
}

operations! {
    Iot "POST" "/things/{thingName}" CreateThing DeviceCreate things::create;
    Iot "GET" "/things/{thingName}" DescribeThing DeviceRead things::describe;
    Iot "PATCH" "/things/{thingName}" UpdateThing DeviceUpdate things::update;
    Iot "DELETE" "/things/{thingName}" DeleteThing DeviceDecommission things::delete;
    Iot "GET" "/things" ListThings DeviceRead things::list;
    Iot "POST" "/thing-types/{thingTypeName}" CreateThingType DeviceCreate types::create;
    Iot "GET" "/thing-types/{thingTypeName}" DescribeThingType DeviceRead types::describe;
    Iot "GET" "/thing-types" ListThingTypes DeviceRead types::list;
    Iot "POST" "/thing-types/{thingTypeName}/deprecate" DeprecateThingType DeviceUpdate types::deprecate;
    Iot "DELETE" "/thing-types/{thingTypeName}" DeleteThingType DeviceUpdate types::delete;
    Iot "PUT" "/thing-groups/addThingToThingGroup" AddThingToThingGroup DeviceUpdate groups::add;
    Iot "PUT" "/thing-groups/removeThingFromThingGroup" RemoveThingFromThingGroup DeviceUpdate groups::take_out;
    Iot "PUT" "/thing-groups/updateThingGroupsForThing" UpdateThingGroupsForThing DeviceUpdate groups::of_thing;
    Iot "POST" "/dynamic-thing-groups/{thingGroupName}" CreateDynamicThingGroup DeviceCreate dynamic_groups::create;
    Iot "PATCH" "/dynamic-thing-groups/{thingGroupName}" UpdateDynamicThingGroup DeviceUpdate dynamic_groups::update;
    Iot "DELETE" "/dynamic-thing-groups/{thingGroupName}" DeleteDynamicThingGroup DeviceUpdate dynamic_groups::delete;
    Iot "POST" "/thing-groups/{thingGroupName}" CreateThingGroup DeviceCreate groups::create;
    Iot "GET" "/thing-groups/{thingGroupName}" DescribeThingGroup DeviceRead groups::describe;
    Iot "PATCH" "/thing-groups/{thingGroupName}" UpdateThingGroup DeviceUpdate groups::update;
    Iot "DELETE" "/thing-groups/{thingGroupName}" DeleteThingGroup DeviceUpdate groups::delete;
    Iot "GET" "/thing-groups" ListThingGroups DeviceRead groups::list;
    Iot "GET" "/thing-groups/{thingGroupName}/things" ListThingsInThingGroup DeviceRead groups::things;
    Iot "GET" "/things/{thingName}/thing-groups" ListThingGroupsForThing DeviceRead groups::for_thing;
    Iot "POST" "/keys-and-certificate" CreateKeysAndCertificate DeviceCreate certificates::create_keys;
    Iot "POST" "/certificates" CreateCertificateFromCsr DeviceCreate certificates::create;
    Iot "POST" "/certificate/register" RegisterCertificate DeviceCreate certificates::register;
    Iot "POST" "/certificate/register-no-ca" RegisterCertificateWithoutCA DeviceCreate certificates::register;
    Iot "GET" "/certificates/{certificateId}" DescribeCertificate DeviceRead certificates::describe;
    Iot "GET" "/certificates" ListCertificates DeviceRead certificates::list;
    Iot "PUT" "/certificates/{certificateId}" UpdateCertificate DeviceRevoke certificates::update;
    Iot "DELETE" "/certificates/{certificateId}" DeleteCertificate DeviceRevoke certificates::delete;
    Iot "PUT" "/things/{thingName}/principals" AttachThingPrincipal DeviceUpdate certificates::attach;
    Iot "DELETE" "/things/{thingName}/principals" DetachThingPrincipal DeviceRevoke certificates::detach;
    Iot "GET" "/things/{thingName}/principals" ListThingPrincipals DeviceRead certificates::of_thing;
    Iot "GET" "/things/{thingName}/principals-v2" ListThingPrincipalsV2 DeviceRead certificates::of_thing_v2;
    Iot "GET" "/principals/things" ListPrincipalThings DeviceRead certificates::things;
    Iot "GET" "/principals/things-v2" ListPrincipalThingsV2 DeviceRead certificates::things_v2;
    Iot "POST" "/policies/{policyName}" CreatePolicy TopicPolicyManage policies::create;
    Iot "GET" "/policies/{policyName}" GetPolicy TopicPolicyRead policies::describe;
    Iot "GET" "/policies" ListPolicies TopicPolicyRead policies::list;
    Iot "DELETE" "/policies/{policyName}" DeletePolicy TopicPolicyManage policies::delete;
    Iot "POST" "/policies/{policyName}/version" CreatePolicyVersion TopicPolicyManage policies::create_version;
    Iot "GET" "/policies/{policyName}/version" ListPolicyVersions TopicPolicyRead policies::versions;
    Iot "GET" "/policies/{policyName}/version/{policyVersionId}" GetPolicyVersion TopicPolicyRead policies::describe_version;
    Iot "PATCH" "/policies/{policyName}/version/{policyVersionId}" SetDefaultPolicyVersion TopicPolicyManage policies::set_default;
    Iot "DELETE" "/policies/{policyName}/version/{policyVersionId}" DeletePolicyVersion TopicPolicyManage policies::delete_version;
    Iot "PUT" "/target-policies/{policyName}" AttachPolicy TopicPolicyManage policies::attach;
    Iot "POST" "/target-policies/{policyName}" DetachPolicy TopicPolicyManage policies::detach;
    Iot "POST" "/attached-policies/{target}" ListAttachedPolicies TopicPolicyRead policies::attached;
    Iot "POST" "/policy-targets/{policyName}" ListTargetsForPolicy TopicPolicyRead policies::targets;
    Iot "PUT" "/principal-policies/{policyName}" AttachPrincipalPolicy TopicPolicyManage policies::attach_principal;
    Iot "DELETE" "/principal-policies/{policyName}" DetachPrincipalPolicy TopicPolicyManage policies::detach_principal;
    Iot "GET" "/principal-policies" ListPrincipalPolicies TopicPolicyRead policies::of_principal;
    Iot "GET" "/policy-principals" ListPolicyPrincipals TopicPolicyRead policies::principals;
    Iot "PUT" "/jobs/{jobId}" CreateJob JobCreate jobs::create;
    Iot "GET" "/jobs/{jobId}" DescribeJob JobRead jobs::describe;
    Iot "PATCH" "/jobs/{jobId}" UpdateJob JobControl jobs::update;
    Iot "DELETE" "/jobs/{jobId}" DeleteJob JobControl jobs::delete;
    Iot "GET" "/jobs" ListJobs JobRead jobs::list_jobs;
    Iot "PUT" "/jobs/{jobId}/cancel" CancelJob JobControl jobs::cancel;
    Iot "POST" "/jobs/{jobId}/targets" AssociateTargetsWithJob JobControl jobs::associate;
    Iot "GET" "/jobs/{jobId}/job-document" GetJobDocument JobRead jobs::document;
    Iot "GET" "/jobs/{jobId}/things" ListJobExecutionsForJob JobRead jobs::executions;
    Iot "GET" "/things/{thingName}/jobs" ListJobExecutionsForThing JobRead jobs::executions_of_thing;
    Iot "GET" "/things/{thingName}/jobs/{jobId}" DescribeJobExecution JobRead jobs::describe_execution;
    Iot "PUT" "/things/{thingName}/jobs/{jobId}/cancel" CancelJobExecution JobControl jobs::cancel_execution;
    Iot "DELETE" "/things/{thingName}/jobs/{jobId}/executionNumber/{executionNumber}" DeleteJobExecution JobControl jobs::delete_execution;
    Iot "POST" "/indices/search" SearchIndex DeviceRead search::search;
    Iot "POST" "/indices/statistics" GetStatistics DeviceRead search::statistics;
    Iot "POST" "/indices/cardinality" GetCardinality DeviceRead search::cardinality;
    Iot "POST" "/indices/percentiles" GetPercentiles DeviceRead search::percentiles;
    Iot "POST" "/indices/buckets" GetBucketsAggregation DeviceRead search::buckets;
    Iot "GET" "/indices/{indexName}" DescribeIndex DeviceRead search::describe;
    Iot "GET" "/indexing/config" GetIndexingConfiguration DeviceRead search::configuration;
    Iot "POST" "/indexing/config" UpdateIndexingConfiguration DeviceUpdate search::configure;
    Iot "POST" "/provisioning-templates" CreateProvisioningTemplate ProvisioningManage templates::create;
    Iot "GET" "/provisioning-templates" ListProvisioningTemplates ProvisioningRead templates::list;
    Iot "GET" "/provisioning-templates/{templateName}" DescribeProvisioningTemplate ProvisioningRead templates::describe;
    Iot "PATCH" "/provisioning-templates/{templateName}" UpdateProvisioningTemplate ProvisioningManage templates::update;
    Iot "DELETE" "/provisioning-templates/{templateName}" DeleteProvisioningTemplate ProvisioningManage templates::delete;
    Iot "POST" "/provisioning-templates/{templateName}/provisioning-claim" CreateProvisioningClaim ProvisioningClaim templates::claim;
    Iot "POST" "/provisioning-templates/{templateName}/versions" CreateProvisioningTemplateVersion ProvisioningManage templates::create_version;
    Iot "GET" "/provisioning-templates/{templateName}/versions" ListProvisioningTemplateVersions ProvisioningRead templates::versions;
    Iot "GET" "/provisioning-templates/{templateName}/versions/{versionId}" DescribeProvisioningTemplateVersion ProvisioningRead templates::describe_version;
    Iot "GET" "/registrationcode" GetRegistrationCode ProvisioningManage registration::code;
    Iot "PUT" "/commands/{commandId}" CreateCommand CommandManage commands::create;
    Iot "GET" "/commands/{commandId}" GetCommand CommandRead commands::describe;
    Iot "GET" "/commands" ListCommands CommandRead commands::list;
    Iot "PATCH" "/commands/{commandId}" UpdateCommand CommandManage commands::update;
    Iot "DELETE" "/commands/{commandId}" DeleteCommand CommandManage commands::delete;
    Iot "GET" "/command-executions/{executionId}" GetCommandExecution CommandRead commands::describe_execution;
    Iot "POST" "/command-executions" ListCommandExecutions CommandRead commands::executions;
    Iot "DELETE" "/command-executions/{executionId}" DeleteCommandExecution CommandCancel commands::delete_execution;
    Jobs "POST" "/command-executions" StartCommandExecution CommandSend commands::start;
    Iot "GET" "/endpoint" DescribeEndpoint DeviceRead endpoint::describe;
    Iot "POST" "/tags" TagResource DeviceUpdate labels::tag;
    Iot "POST" "/untag" UntagResource DeviceUpdate labels::untag;
    Iot "GET" "/tags" ListTagsForResource DeviceRead labels::list;
    Data "GET" "/things/{thingName}/shadow" GetThingShadow ShadowRead shadows::read;
    Data "POST" "/things/{thingName}/shadow" UpdateThingShadow ShadowUpdate shadows::update;
    Data "DELETE" "/things/{thingName}/shadow" DeleteThingShadow ShadowDelete shadows::delete;
    Data "GET" "/api/things/shadow/ListNamedShadowsForThing/{thingName}" ListNamedShadowsForThing ShadowRead shadows::names;
    Data "POST" "/topics/{topic}" Publish TopicPublish messages::publish;
    Data "GET" "/retainedMessage/{topic}" GetRetainedMessage TopicRead messages::show;
    Data "GET" "/retainedMessage" ListRetainedMessages TopicRead messages::list;
    Jobs "GET" "/things/{thingName}/jobs" GetPendingJobExecutions JobRead jobs_data::pending;
    Jobs "PUT" "/things/{thingName}/jobs/$next" StartNextPendingJobExecution JobReport jobs_data::start_next;
    Jobs "GET" "/things/{thingName}/jobs/{jobId}" DescribeJobExecution JobRead jobs_data::describe;
    Jobs "POST" "/things/{thingName}/jobs/{jobId}" UpdateJobExecution JobReport jobs_data::update;
}

/// The operation that a request means, and what its path says.
pub(crate) fn find(entered: &Entered) -> Option<(&'static Operation, Vec<(&'static str, String)>)> {
    let (method, path) = (entered.parts.method.as_str(), entered.parts.uri.path());
    OPERATIONS
        .iter()
        .filter(|operation| operation.service == entered.service && operation.method == method)
        .find_map(|operation| Some((operation, fitting(operation.path, path)?)))
}

/// What a caller is told whose operation is none of these.
pub(crate) fn unknown(entered: &Entered) -> Refusal {
    Refusal::unknown_operation(refused::instead(entered.parts.uri.path()))
}

/// What stands in the places of a pattern. Parts are taken apart before they are decoded, so that a slash in one stays.
fn fitting(pattern: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let mut found = Vec::new();
    let mut given = path.split('/');
    for part in pattern.split('/') {
        let value = given.next()?;
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        match name {
            Some(_) if value.is_empty() => return None,
            Some(name) => found.push((name, percent_decode_str(value).decode_utf8().ok()?.into_owned())),
            // A client may encode what it need not.
            None if percent_decode_str(value).eq(part.bytes()) => {}
            None => return None,
        }
    }
    given.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_fitted_part_by_part() {
        let one = |name: &'static str, value: &str| Some(vec![(name, value.to_owned())]);
        assert_eq!(fitting("/things/{thingName}", "/things/gw%3A1"), one("thingName", "gw:1"));
        assert_eq!(fitting("/topics/{topic}", "/topics/a%2Fb"), one("topic", "a/b"));
        assert_eq!(fitting("/jobs/$next", "/jobs/%24next"), Some(Vec::new()));
        for bad in ["/things", "/things/", "/things/a/b", "/thing/a", "things/a", "/things/%ff"] {
            assert_eq!(fitting("/things/{thingName}", bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_more_exact_stands_first() {
        for (at, operation) in OPERATIONS.iter().enumerate() {
            let before = OPERATIONS
                .iter()
                .take(at)
                .filter(|other| (other.service, other.method) == (operation.service, operation.method));
            for other in before {
                assert_eq!(fitting(other.path, operation.path), None, "{} hides {}", other.name, operation.name);
            }
        }
    }
}
