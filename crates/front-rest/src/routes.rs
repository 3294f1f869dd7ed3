//! Every operation: a folder for each noun, a file for each operation.
//!
//! A handler is made of extractors (who, where, what), one call of a use case, and the translation of its answer. Each
//! declares its permission in `x-permission`; the permission is enforced by the use case, and a test holds the two together.

mod access_keys;
mod api_tokens;
mod artifacts;
mod attestation;
mod ca_requests;
mod ca_rotation;
mod certificates;
mod claim_codes;
mod claims;
mod command_templates;
mod commands;
mod crls;
mod deny_list;
mod device_groups;
mod device_search;
mod device_statistics;
mod device_types;
mod devices;
mod dids;
mod drills;
mod enroll_tokens;
mod enrollment_keys;
mod enrollment_requests;
mod events;
mod factories;
mod hub;
mod identity_policy;
mod installation_tokens;
mod installation_vault;
mod inventory;
mod issuer;
mod jobs;
mod labels;
mod makers;
mod messaging;
mod provisioning_templates;
mod redirect;
mod releases;
mod revocations;
mod rollouts;
mod rotations;
mod scep_challenges;
mod security;
mod setup;
pub(crate) mod shadow;
mod signers;
mod tenants;
mod token_issuers;
mod topic_messages;
mod topic_policies;
mod transfers;
mod transparency;
mod vault;
mod whoami;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

/// All of `/v1`.
pub(crate) fn v1() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(setup::handler))
        .routes(routes!(whoami::handler))
        .merge(tenants::router())
        .merge(identity_policy::router())
        .merge(messaging::router())
        .merge(redirect::router())
        .merge(issuer::router())
        .merge(ca_rotation::router())
        .merge(ca_requests::router())
        .merge(installation_tokens::router())
        .merge(installation_vault::router())
        .merge(vault::router())
        .merge(access_keys::router())
        .merge(api_tokens::router())
        .merge(enroll_tokens::router())
        .merge(enrollment_requests::router())
        .merge(enrollment_keys::router())
        .merge(inventory::router())
        .merge(makers::router())
        .merge(token_issuers::router())
        .merge(topic_policies::router())
        .merge(dids::router())
        .merge(provisioning_templates::router())
        .merge(claims::router())
        .merge(factories::router())
        .merge(claim_codes::router())
        .merge(scep_challenges::router())
        .merge(devices::router())
        .merge(device_groups::router())
        .merge(device_types::router())
        .routes(routes!(device_search::handler))
        .routes(routes!(device_statistics::handler))
        .merge(certificates::router())
        .merge(labels::router())
        .merge(attestation::router())
        .merge(transfers::router())
        .merge(revocations::router())
        .merge(deny_list::router())
        .merge(drills::router())
        .merge(crls::router())
        .merge(transparency::router())
        .merge(jobs::router())
        .merge(shadow::router())
        .merge(hub::router())
        .merge(topic_messages::router())
        .merge(commands::router())
        .merge(command_templates::router())
        .merge(signers::router())
        .merge(artifacts::router())
        .merge(releases::router())
        .merge(rollouts::router())
        .merge(rotations::router())
        .merge(events::router())
        .merge(security::router())
}
