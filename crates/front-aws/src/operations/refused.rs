//! What AWS has and is not offered here, by the beginning of its path, and what there is in its place.
//!
//! A plan of Terraform or a script of many resources fails at one of them: the sentence says which kind it was of.

/// What is said of any other operation.
const OTHERWISE: &str = "This operation is not offered here";

const INSTEAD: &[(&str, &str)] = &[
    ("/audit", "Audits of Device Defender are not offered here"),
    (
        "/authorizer",
        "Authorizers are not functions of AWS here: issuers of tokens are registered with wardctl token-issuer",
    ),
    ("/behavior-model-training", "Device Defender's models are not offered here"),
    ("/billing-groups", "A billing group has no record here: its name is kept with the thing (billingGroupName)"),
    ("/cacertificate", "Authorities are registered with wardctl factory-ca register, by the same proof"),
    ("/cacertificates", "Authorities are registered with wardctl factory-ca register, by the same proof"),
    ("/custom-metric", "Device Defender's metrics are not offered here"),
    (
        "/default-authorizer",
        "Authorizers are not functions of AWS here: issuers of tokens are registered with wardctl token-issuer",
    ),
    ("/destinations", "Rules and their destinations are not offered here: messages go on to a subscriber"),
    ("/dimensions", "Device Defender's dimensions are not offered here"),
    ("/domainConfigurations", "The names of the server are set where it is started, not by domain configurations"),
    ("/event-configurations", "Events are not chosen by kind here: what happens is in the journal"),
    ("/fleet-metric", "Fleet metrics are not offered here: GetStatistics counts at once"),
    ("/loggingOptions", "The log is set where the server is started"),
    ("/mitigationactions", "Device Defender's actions are not offered here"),
    (
        "/otaUpdates",
        "OTA updates of AWS are not offered here: releases go out with wardctl rollout, documents with CreateJob",
    ),
    ("/role-aliases", "There is no provider of AWS credentials here, and so there are no role aliases"),
    ("/rules", "Topic rules are not offered here: messages go on to a subscriber"),
    ("/security-profiles", "Device Defender's profiles are not offered here"),
    ("/streams", "Streams are not offered here: artifacts are fetched over HTTPS"),
    ("/v2LoggingLevel", "The log is set where the server is started"),
    ("/v2LoggingOptions", "The log is set where the server is started"),
];

/// The sentence for a path that is no operation's.
pub(super) fn instead(path: &str) -> &'static str {
    let first = path.get(1..).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let of = INSTEAD.iter().find(|(begin, _)| begin.strip_prefix('/') == Some(first));
    of.map_or(OTHERWISE, |(_, sentence)| sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_by_its_first_part() {
        assert!(instead("/role-aliases/deploy").starts_with("There is no provider"));
        assert!(instead("/rules").starts_with("Topic rules"));
        for other in ["", "/", "/rulesets", "/things/rules", "rules", "/%2Frules"] {
            assert_eq!(instead(other), OTHERWISE, "{other}");
        }
    }

    #[test]
    fn what_is_offered_is_not_said_to_be_missing() {
        for operation in super::super::OPERATIONS {
            assert_eq!(instead(operation.path), OTHERWISE, "{}", operation.name);
        }
    }
}
