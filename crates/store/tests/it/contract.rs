//! What both engines promise. Each test runs on each engine; every method of a noun is in one of them (`coverage`).

mod access;
mod attestation;
mod auth_failures;
mod bootstrap;
mod commands;
mod deployments;
mod devices;
mod drills;
mod identity;
mod issuers;
mod jobs;
mod journal;
mod mqtt;
mod provisioning;
mod releases;
mod rotations;
mod shadows;
mod standing;
mod tenants;
mod token_issuers;
mod topic_policies;
mod transfers;
mod units;
mod vault;
mod ways_out;

macro_rules! contract {
    ($($module:ident: $($name:ident),+;)+) => {
        mod on_sqlite {$($(
            #[tokio::test]
            async fn $name() {
                super::$module::$name(crate::support::Fixture::sqlite().await).await;
            }
        )+)+}
        mod on_postgres {$($(
            #[tokio::test]
            async fn $name() {
                super::$module::$name(crate::support::Fixture::postgres().await).await;
            }
        )+)+}
    };
}

contract! {
    access: access_keys_live_and_end, types_are_named_and_deprecated, groups_lie_in_groups, labels_are_replaced_whole,
        questions_decide_who_is_in_a_group, sources_of_policies_are_kept_by_version;
    auth_failures: refusals_are_added_up_by_the_hour;
    bootstrap: inventory_is_replaced_and_paged, makers_have_one_key_each, enrollments_are_changed_by_revision,
        requests_wait_for_a_decision, registrations_and_scopes, identifiers_are_of_one_device;
    attestation: a_device_has_one_attestation, anchors_and_references, vouched_keys_are_forgotten_soon;
    commands: a_command_is_written_once_and_changed_by_version, queues_have_an_order_and_an_end,
        commands_are_filtered_and_paged, what_is_over_is_forgotten, templates_are_named_and_changed_by_revision;
    deployments: deployments_are_queued_once, a_report_needs_the_version_it_read, candidates_meet_every_piece,
        deployments_are_counted_and_paged;
    devices: a_device_is_written_and_read, devices_are_filtered_and_paged, devices_are_found_by_their_last_change, only_those_with_a_heartbeat_are_expected,
        presence_only_moves_on;
    drills: a_drill_sees_what_a_revocation_takes, a_drill_sees_who_goes_back, a_drill_sees_tokens_that_wait;
    identity: keys_and_authorities, sealed_keys_are_listed_and_sealed_again, api_tokens_live_and_end, enroll_tokens_are_used_once,
        scep_transactions_stand_for_one_request, certificates_live_and_end;
    issuers: issuers_are_written_with_their_revision, revoked_certificates_are_told_once, authorities_stand_and_fall,
        a_tenant_has_one_open_rotation, anchors_are_counted;
    jobs: jobs_are_written_and_due, devices_get_one_execution, executions_change_at_their_version,
        devices_see_what_is_pending, timers_and_ends, what_is_over_goes_the_oldest_first;
    journal: the_journal_is_appended_and_paged, the_journal_is_followed, the_journal_is_sealed, commits_wake_followers;
    mqtt: sessions_outlive_connections, queues_are_appended_read_and_consumed, retained_messages, wills_are_kept_and_taken, servers_beat_and_are_missed;
    provisioning: templates_change_at_their_revision, claims_count_to_their_cap, pending_certificates_are_taken_once, the_oldest_that_wait_make_room,
        other_certificates_are_kept_listed_and_logged,
        factories_and_what_they_made, codes_are_used_once;
    releases: releases_and_their_signers, rollouts_are_written_and_due, idempotent_answers;
    rotations: ladders_are_climbed, ends_are_told, devices_are_asked_to_renew, campaigns_are_written_and_due,
        members_renew_or_fail;
    shadows: shadow_versions_decide, many_shadows_are_one_round, histories_are_numbered_paged_and_thinned_out;
    standing: deployments_stand_beside_presence, updates_are_taken_back_once;
    tenants: tenants_are_written_and_listed, tallies;
    token_issuers: token_issuers_are_replaced_and_paged, a_token_is_exchanged_once;
    topic_policies: policies_have_versions, policies_are_attached, changes_are_counted, what_is_attached_is_weighed;
    transfers: offers_end_once, a_transfer_waits_for_its_device, the_state_of_a_device_is_forgotten;
    units: tenants_do_not_see_each_other, a_failed_unit_leaves_nothing, a_panic_fails_its_unit_alone,
        a_passed_over_failure_is_not_committed, units_share_a_batch_and_fail_alone, two_writers_of_one_row,
        an_entered_tenant_bounds_the_statements, a_reader_cannot_write, readers_see_a_snapshot;
    vault: vault_keys_are_versioned_and_wrapped_again, vault_keys_are_held, seals_of_a_key_are_counted;
    ways_out: lists_only_move_on, revoked_ones_wait_for_their_list, the_log_grows_by_its_end, the_deny_list,
        revocations_of_many_go_on, pages_of_devices_are_revoked, certificates_are_found_by_where_they_came_from,
        replacements_are_asked_for, what_ends_sessions_is_followed, what_waited_for_its_device_is_known;
}
