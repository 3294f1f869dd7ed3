//! A limit on everything that can grow. `docs/limits.md` lists them with their reasons.

use std::time::Duration;

/// A body posted to the operators' API, artifacts aside.
pub const REST_BODY_BYTES: usize = 1024 * 1024;
/// How long such a body may take to arrive; an artifact, how long it may stand still.
pub const REST_BODY_DEADLINE: Duration = Duration::from_secs(30);
/// Nesting of a JSON body of the operators' API.
pub const REST_JSON_DEPTH: usize = 32;
/// An artifact.
pub const ARTIFACT_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// A release manifest with its signature.
pub const MANIFEST_BYTES: usize = 256 * 1024;
/// Artifacts in one release.
pub const ARTIFACTS_PER_RELEASE: usize = 64;
/// The subject of a certificate request.
pub const CSR_SUBJECT_BYTES: usize = 2 * 1024;
/// An EST request body.
pub const EST_BODY_BYTES: usize = 64 * 1024;
/// A SCEP message; in a URL, in base64, where some proxies cut off less.
pub const SCEP_MESSAGE_BYTES: usize = 64 * 1024;
pub const SCEP_QUERY_BYTES: usize = 8 * 1024;
/// A list of revoked certificates that goes into an answer of SCEP; a larger one is fetched from its URL.
pub const SCEP_LIST_BYTES: usize = 1024 * 1024;
/// The names that a SCEP client gives to its transaction and to one message of it.
pub const SCEP_TRANSACTION_ID_BYTES: usize = 128;
pub const SCEP_NONCE_BYTES: usize = 64;
/// Connections at once on the port without TLS, where anybody asks.
pub const PKI_CONNECTIONS: usize = 1000;
/// An OCSP request, and the certificates that one may ask for.
pub const OCSP_REQUEST_BYTES: usize = 8 * 1024;
pub const OCSP_CERTIFICATES: usize = 32;
/// OCSP answers of one authority that are kept in memory; those that are signed for one asker alone, a second.
pub const OCSP_ANSWERS_KEPT: usize = 20_000;
pub const OCSP_LIVE_PER_SECOND: u32 = 200;
/// OCSP answers that are signed in one turn before they are asked for.
pub const OCSP_AHEAD_PER_LOOK: usize = 500;
/// Revoked certificates of a tenant that one look puts on their lists; those of one ending of serial numbers on one list.
pub const CRL_PENDING_PER_LOOK: u32 = 100_000;
pub const CRL_ENTRIES_PER_TAIL: u32 = 100_000;
/// Devices, or certificates, that one transaction of a revocation takes; revocations of a tenant that run or wait at once.
pub const REVOCATIONS_PER_BATCH: u32 = 500;
pub const REVOCATIONS_OPEN: u32 = 100;
/// Token services of a tenant; audiences of one; the bytes of a name, a claim or an id in a token.
pub const TOKEN_ISSUERS: u32 = 20;
pub const TOKEN_AUDIENCES: usize = 10;
pub const TOKEN_ISSUER_TEXT_BYTES: usize = 256;
/// Topic policies of a tenant; versions of one; the bytes of a document, its statements, the topics of one, the variables in
/// one of those.
pub const TOPIC_POLICIES: u32 = 100;
pub const TOPIC_POLICY_VERSIONS: u32 = 5;
pub const TOPIC_POLICY_BYTES: usize = 4096;
pub const TOPIC_POLICY_STATEMENTS: usize = 20;
pub const TOPIC_POLICY_TEMPLATES: usize = 20;
pub const TOPIC_POLICY_VARIABLES: usize = 8;
/// Topic policies attached to one device, or to one certificate; to the tenant and to selectors taken together.
pub const TOPIC_POLICIES_PER_TARGET: u64 = 10;
pub const TOPIC_POLICIES_FOR_MANY: u64 = 20;
/// Rules, one for each topic of a statement, and the bytes of their patterns with the longest values put in: of the policies
/// attached to one device, or to one certificate; of those attached to the tenant and to selectors. A device has no more than
/// all three together.
pub const TOPIC_RULES_PER_TARGET: usize = 256;
pub const TOPIC_RULES_FOR_MANY: usize = 512;
pub const TOPIC_PATTERN_BYTES_PER_TARGET: usize = 16 * 1024;
pub const TOPIC_PATTERN_BYTES_FOR_MANY: usize = 32 * 1024;
/// A value that is put in for a variable of a topic.
pub const TOPIC_POLICY_VALUE_BYTES: usize = 128;
/// A token, and the longest life that a tenant may allow one.
pub const TOKEN_BYTES: usize = 8 * 1024;
pub const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A published set of keys; how long one is believed without asking again, how soon after a failure or for a key that is not in it is asked again, and how long an old one counts where nobody answers.
pub const TOKEN_KEYS_BYTES: usize = 64 * 1024;
pub const TOKEN_KEYS_FRESH: Duration = Duration::from_secs(10 * 60);
pub const TOKEN_KEYS_RETRY: Duration = Duration::from_secs(30);
pub const TOKEN_KEYS_STALE: Duration = Duration::from_secs(24 * 3600);
/// Devices, or certificates, that a drill looks at; names of one kind that it gives; finished revocations that it takes the pace from.
pub const DRILL_REACH: u64 = 1_000_000;
pub const DRILL_NAMES: usize = 1000;
pub const DRILL_SAMPLES: u32 = 20;
/// Entries of one tenant's deny list, and the bytes of one.
pub const DENY_LIST_ENTRIES: u64 = 100_000;
pub const DENY_LIST_VALUE_BYTES: usize = 128;
/// What people say to why something was revoked or denied.
pub const REVOCATION_REASON_BYTES: usize = 256;
/// Certificates from nowhere that were told of and are not told of again.
pub const UNLOGGED_REMEMBERED: usize = 10_000;
/// Certificates that one transaction puts into the transparency log.
pub const TRANSPARENCY_BATCH: u32 = 1000;
/// Desired and reported state of a shadow, metadata excluded.
pub const SHADOW_STATE_BYTES: usize = 8 * 1024;
/// Nesting of a shadow document counted from its root, which makes six within a section.
pub const SHADOW_DEPTH: usize = 8;
/// Updates of shadows of one tenant that one transaction takes, and such transactions at once.
pub const SHADOW_BATCH: usize = 64;
pub const SHADOW_BATCHES: usize = 2;
/// Changes to one shadow that are told apart in its history, by default and as a tenant may set it.
pub const SHADOW_HISTORY_KEPT: u32 = 50;
pub const SHADOW_HISTORY_KEPT_MAX: u32 = 1000;
/// Days for which they are told apart, and days of which the last change is kept; the most that a tenant may set.
pub const SHADOW_HISTORY_DAYS_MAX: u32 = 365;
pub const SHADOW_HISTORY_DAILY_DAYS_MAX: u32 = 730;
/// After so many changes to a shadow its history is looked at, and so many of its changes one look takes.
pub const SHADOW_HISTORY_SLACK: u64 = 200;
pub const SHADOW_HISTORY_LOOK: u32 = 1000;
/// Shadows that wait for such a look; one more is found by the walk over all, which takes so many in a turn.
pub const SHADOW_HISTORY_WAITING: usize = 10_000;
pub const SHADOW_HISTORY_WALK: u32 = 200;
/// Paths of one shadow that are watched for going to and fro.
pub const SHADOW_PATHS_WATCHED: usize = 32;
/// Shadows of a tenant that belong to no device, where it allows them.
pub const SHADOWS_UNREGISTERED: u64 = 10_000;
/// Shadows whose retained message one turn holds against the database.
pub const LIGHT_MODE_WALK: u32 = 500;
/// Retained messages on one page of the devices' HTTPS door.
pub const RETAINED_PAGE: usize = 200;
/// A client token of the AWS messages.
pub const CLIENT_TOKEN_BYTES: usize = 64;
/// Requests of one MQTT connection that the services work on at once; above it they answer 429.
pub const SERVICE_REQUESTS_IN_FLIGHT: usize = 10;
/// A body of fleet provisioning, either way.
pub const PROVISIONING_BODY_BYTES: usize = 64 * 1024;
/// A provisioning template, as AWS has it (10,240), with room for its blanks; and how deep it nests.
pub const TEMPLATE_BYTES: usize = 32 * 1024;
pub const TEMPLATE_DEPTH: usize = 20;
/// What one evaluation of a template may write, what its functions throw away included.
pub const TEMPLATE_OUTPUT_BYTES: usize = 64 * 1024;
/// Parameters that a device sends for its template, and the bytes of a name and of a value.
pub const TEMPLATE_PARAMETERS: usize = 64;
pub const TEMPLATE_PARAMETER_NAME_BYTES: usize = 128;
pub const TEMPLATE_PARAMETER_BYTES: usize = 2048;
/// What a claim may ask for: requests in a burst, then a second; certificates that wait for their device; connections at once.
pub const CLAIM_REQUESTS_BURST: u32 = 100;
pub const CLAIM_REQUESTS_PER_SECOND: u32 = 20;
pub const PENDING_PER_CLAIM: u64 = 1000;
pub const CLAIM_CONNECTIONS: usize = 500;
/// How long an ownership token holds, and the certificate that it is for waits.
pub const OWNERSHIP_TOKEN_TTL: Duration = Duration::from_secs(3600);
/// How long the claim of a trusted user holds.
pub const USER_CLAIM_TTL: Duration = Duration::from_secs(5 * 60);
/// How long a claim of a trusted user is kept after its end.
pub const USER_CLAIM_KEPT: Duration = Duration::from_secs(24 * 3600);
/// The URL of a pre-provisioning hook, its answer, and how long it may take.
pub const HOOK_URL_BYTES: usize = 2048;
pub const HOOK_ANSWER_BYTES: usize = 64 * 1024;
pub const HOOK_DEADLINE: Duration = Duration::from_secs(5);
/// How long the code holds that a factory's authority has to sign.
pub const REGISTRATION_CODE_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
/// Devices of one factory that wait to be claimed, and how long they wait.
pub const FACTORY_PENDING: u64 = 100_000;
pub const FACTORY_PENDING_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Claims, and tenants, whose pace is counted apart; those beyond share one allowance of each kind.
pub const PACES: usize = 10_000;
/// Claim codes of a tenant that were no good, in a minute.
pub const CLAIM_CODES_TRIED_PER_MINUTE: u32 = 20;
/// How long a claim code is kept after its end.
pub const CLAIM_CODE_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Everything that comes before a CONNECT is accepted, the CONNECT packet included.
pub const MQTT_CONNECT_BYTES: usize = 4 * 1024;
/// From accepting the socket to the whole CONNECT packet.
pub const MQTT_CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// An MQTT packet.
pub const MQTT_PACKET_BYTES: usize = 256 * 1024;
/// An MQTT payload (128 KiB, as AWS has it).
pub const MQTT_PAYLOAD_BYTES: usize = 128 * 1024;
/// A topic name or filter.
pub const MQTT_TOPIC_BYTES: usize = 256;
/// A topic name whose last level holds the properties of a message, as Azure has it.
pub const MQTT_PROPERTIES_TOPIC_BYTES: usize = 4096;
/// Levels of a topic name or filter.
pub const MQTT_TOPIC_LEVELS: usize = 16;
/// Filters in one SUBSCRIBE.
pub const MQTT_FILTERS_PER_SUBSCRIBE: usize = 32;
/// Subscriptions of one session.
pub const MQTT_SUBSCRIPTIONS: usize = 128;
/// Keep-alive that a client may ask for; a client that asks for none gets this.
pub const MQTT_KEEP_ALIVE_SECS: u16 = 1200;
/// Bytes that wait in memory for one connected client.
pub const MQTT_OUTBOUND_BYTES: usize = 1024 * 1024;
/// Bytes that wait in the store for one session that is offline.
pub const MQTT_OFFLINE_QUEUE_BYTES: u64 = 64 * 1024 * 1024;
/// Sent and not yet acknowledged, each way.
pub const MQTT_IN_FLIGHT: u16 = 100;
/// QoS 2 messages of a session that its client has not released.
pub const MQTT_UNRELEASED: usize = 1000;
/// Topic aliases of one connection.
pub const MQTT_TOPIC_ALIASES: u16 = 16;
/// A session outlives its connection by this at most.
pub const MQTT_SESSION_EXPIRY_SECS: u32 = 7 * 24 * 3600;
/// Retained messages of one tenant.
pub const MQTT_RETAINED_PER_TENANT: usize = 100_000;
/// How long a message that an operator publishes may be worth something.
pub const MESSAGE_EXPIRY: Duration = Duration::from_secs(30 * 24 * 3600);
/// A message to a device as Azure's IoT Hub has it, and how long it waits for the device at most and by default.
pub const HUB_MESSAGE_BYTES: usize = 64 * 1024;
pub const HUB_MESSAGE_TTL: Duration = Duration::from_secs(48 * 3600);
pub const HUB_MESSAGE_TTL_DEFAULT: Duration = Duration::from_secs(3600);
/// Properties of one message.
pub const HUB_MESSAGE_PROPERTIES: usize = 64;
/// How long a method of a device may take to answer, at most and by default.
pub const METHOD_DEADLINE: Duration = Duration::from_secs(300);
pub const METHOD_DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
/// How long after a device connected its delta is not told unasked where it comes back with less than it had; shadows of which one
/// waits so, above which all are told at once.
pub const SHADOW_DELTA_GRACE: Duration = Duration::from_secs(10);
pub const SHADOW_DELTAS_HELD: usize = 100_000;
/// Calls of methods that wait for an answer: of one device, and of one tenant.
pub const METHODS_PER_DEVICE: usize = 10;
pub const METHODS_PER_TENANT: usize = 1000;
/// How long a server may say nothing to its database until another one takes it for gone, and the last wills of such a server
/// that are taken over in one transaction.
pub const SERVER_SILENCE: Duration = Duration::from_secs(20);
pub const WILLS_TAKEN_AT_ONCE: u32 = 1000;
/// What waits to be said through an external broker, and requests from it that are worked on at once.
pub const EXTERNAL_BROKER_BYTES: usize = 16 * 1024 * 1024;
pub const EXTERNAL_BROKER_AT_ONCE: usize = 64;
/// How long an external broker may take to accept the server.
pub const EXTERNAL_BROKER_DEADLINE: Duration = Duration::from_secs(15);
/// How long an external broker keeps what waits for a server that is away.
pub const EXTERNAL_BROKER_SESSION_SECS: u32 = 24 * 3600;
/// How old what a server knows of disabled keys may be when it signs; older, it asks the store first.
pub const VAULT_STALE: Duration = Duration::from_secs(1);
/// How long a retired key is kept at least, for servers that have not heard of the new one.
pub const VAULT_RETIRED_KEPT: Duration = Duration::from_secs(10 * 60);
/// Rows that one page of a listing holds, at most and by default.
pub const PAGE_ROWS: u32 = 1000;
pub const PAGE_ROWS_DEFAULT: u32 = 100;
/// The identity policy of a tenant, as its text.
pub const IDENTITY_POLICY_BYTES: usize = 32 * 1024;
/// Networks that a tenant gives a place to.
pub const DETECTION_PLACES: usize = 256;
/// Devices whose last connections are remembered to tell a clone from a journey; the rest are taken at their word.
pub const DETECTION_DEVICES: usize = 250_000;
/// Kinds of refused authentications that one process counts at once between two writings; more are counted together.
pub const AUTH_FAILURE_KINDS: usize = 10_000;
/// How long counts of refused authentications are kept.
pub const AUTH_FAILURES_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Tags of one device, and attributes.
pub const DEVICE_TAGS: usize = 64;
pub const DEVICE_ATTRIBUTES: usize = 64;
/// Text of a field of the device record.
pub const DEVICE_FIELD_BYTES: usize = 256;
/// Phases of one rollout.
pub const ROLLOUT_PHASES: usize = 32;
/// Rollouts looked at in one tick, and deployments assigned by it.
pub const ROLLOUTS_PER_TICK: u32 = 100;
pub const ASSIGNMENTS_PER_TICK: u32 = 1000;
/// How long an answer is kept under its `Idempotency-Key`.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 3600);
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// Enrolment: refused attempts of one address (burst, then a second), and of one token in all.
pub const ENROLL_PER_ADDRESS_BURST: u32 = 20;
pub const ENROLL_PER_ADDRESS_PER_SECOND: u32 = 5;
pub const ENROLL_PER_TOKEN_ATTEMPTS: u32 = 20;
/// An external issuer of certificates: one request to it, one answer, how many at once for one tenant, and certificates
/// that are remembered for a device that asks again.
pub const ISSUER_DEADLINE: Duration = Duration::from_secs(10);
pub const ISSUER_ANSWER_BYTES: usize = 256 * 1024;
pub const ISSUER_REQUESTS_AT_ONCE: usize = 32;
pub const ISSUER_REMEMBERED: usize = 4096;
/// How long an examination waits for an external issuer, how many it asks at once, and how many at most.
pub const ISSUER_CHECK_DEADLINE: Duration = Duration::from_secs(5);
pub const ISSUER_CHECKS_AT_ONCE: usize = 16;
pub const ISSUER_CHECKS: usize = 256;
/// Revoked certificates that an external issuer is told of in one tick, for one tenant.
pub const ISSUER_TOLD_PER_TICK: u32 = 100;
/// What is imported of an offline root at once: bytes of PEM, and certificates in it.
pub const CA_IMPORT_BYTES: usize = 64 * 1024;
pub const CA_IMPORT_CERTIFICATES: usize = 16;
/// Rotations of authorities on one page of a tick, and authorities that one tick puts under a new root.
pub const CA_ROTATIONS_PER_TICK: u32 = 100;
pub const CA_RENEWED_PER_TICK: usize = 100;
/// Trust anchors that a device says it holds.
pub const ANCHORS_PER_DEVICE: usize = 16;
/// Addresses whose refused attempts are counted each for itself; those beyond are counted together.
pub const ENROLL_ADDRESSES: usize = 65_536;
/// The manufacturing database of one tenant, and one import of it.
pub const INVENTORY_ROWS: u64 = 2_000_000;
pub const INVENTORY_IMPORT_BYTES: u64 = 512 * 1024 * 1024;
/// A row of an import with all its fields, and the maker's statement in it.
pub const INVENTORY_ROW_BYTES: usize = 16 * 1024;
pub const INVENTORY_ATTESTATION_BYTES: usize = 8 * 1024;
/// Rows of an import that are written in one transaction.
pub const INVENTORY_ROWS_PER_UNIT: usize = 200;
/// Faults of an import that are told one by one; the rest are counted.
pub const INVENTORY_FAULTS_TOLD: usize = 1000;
/// Access keys of a tenant, with which requests are signed.
pub const ACCESS_KEYS: u64 = 200;
/// What a request signed by AWS's rules may carry, how far its clock may be off, and the header fields that it may sign.
pub const AWS_BODY_BYTES: usize = 512 * 1024;
pub const AWS_CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
pub const AWS_AUTHORIZATION_BYTES: usize = 4 * 1024;
pub const AWS_SIGNED_HEADERS: usize = 64;
/// A policy in AWS's language; its statements, and the actions and resources of one.
pub const POLICY_SOURCE_BYTES: usize = 8 * 1024;
pub const POLICY_SOURCE_PARTS: usize = 256;
/// Kinds of devices, and groups, of a tenant; how deep groups lie in each other; attributes of one.
pub const DEVICE_TYPES: u64 = 1000;
pub const DEVICE_GROUPS: u64 = 10_000;
pub const DEVICE_GROUP_DEPTH: usize = 8;
pub const DEVICE_GROUP_ATTRIBUTES: usize = 64;
/// Groups of a tenant whose devices a question decides; devices that are asked in one turn, those of one transaction.
pub const DYNAMIC_GROUPS: u64 = 100;
pub const DYNAMIC_GROUP_DEVICES_PER_TURN: u32 = 5000;
pub const DYNAMIC_GROUP_DEVICES_PER_BATCH: u32 = 500;
/// Labels on a thing that is no device, and the bytes of a name or value.
pub const LABELS: usize = 50;
pub const LABEL_BYTES: usize = 512;
/// A question for devices: its bytes, its terms, and the devices that one call looks at.
pub const SEARCH_BYTES: usize = 1000;
pub const SEARCH_TERMS: usize = 24;
pub const SEARCH_DEVICES_PER_CALL: u32 = 5000;
/// Such calls that one count makes.
pub const SEARCH_CALLS_PER_COUNT: u32 = 1000;
/// Different values of a field that are counted apart.
pub const SEARCH_VALUES: usize = 100_000;
/// Certificates that operators had made and that wait for their device, in one tenant, and for how long they wait.
pub const UNBOUND_CERTIFICATES: u64 = 10_000;
pub const UNBOUND_CERTIFICATE_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
/// Makers whose keys a tenant knows.
pub const MAKERS: u32 = 1000;
/// Enrolment groups of a tenant; each is tried for a device that does not say which one it is of.
pub const ENROLLMENT_GROUPS: u32 = 100;
/// Enrolments of single devices by a key of their own, in one tenant.
pub const ENROLLMENTS_INDIVIDUAL: u64 = 100_000;
/// JSON that devices of an enrolment are given when they register.
pub const ENROLLMENT_PAYLOAD_BYTES: usize = 4 * 1024;
/// How far ahead a shared access signature may end, and how long it is still taken after its end.
pub const SAS_LIFE: Duration = Duration::from_secs(366 * 24 * 3600);
pub const SAS_CLOCK_SKEW: Duration = Duration::from_secs(300);
/// Connections of one tenant that are in to register by Azure's messages, and how long one lasts.
pub const DPS_CONNECTIONS: usize = 1000;
pub const DPS_CONNECTION_LIFE: Duration = Duration::from_secs(600);
/// Devices of one tenant that wait for a person, and requests of one device.
pub const ENROLLMENT_REQUESTS: u64 = 10_000;
pub const ENROLLMENT_REQUESTS_PER_DEVICE: u64 = 5;
/// Those of one tenant beside them that have nothing to show (the device flow).
pub const ENROLLMENT_REQUESTS_OF_ANYBODY: u64 = 500;
/// How long such a request is kept after its end.
pub const ENROLLMENT_REQUEST_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// What a person is given to decide on a request of the device flow.
pub const DEVICE_FLOW_LIFE: Duration = Duration::from_secs(1800);
/// Decentralised identifiers of one device, and the text of one.
pub const DEVICE_DIDS: u32 = 16;
pub const DID_BYTES: usize = 512;
/// A DID document, how long it may take to come, and how long it is believed.
pub const DID_DOCUMENT_BYTES: usize = 64 * 1024;
pub const DID_DOCUMENT_DEADLINE: Duration = Duration::from_secs(5);
pub const DID_DOCUMENT_KEPT: Duration = Duration::from_secs(300);
/// DID documents in memory.
pub const DID_DOCUMENTS: usize = 1000;
/// How long a challenge to prove a key holds.
pub const DID_CHALLENGE_LIFE: Duration = Duration::from_secs(300);
/// Certificates that one device gets in an hour for the one that it holds.
pub const RENEWALS_PER_DEVICE_AND_HOUR: u32 = 30;
/// A certificate that ended at most this long ago is still known in a hand-shake; what comes of it is the door's to decide,
/// and no door but that of enrolment takes it.
pub const EXPIRED_ACCEPTED: Duration = Duration::from_secs(366 * 24 * 3600);
/// Renewals that are served a second, and the burst that may be ahead of that: of the installation, and of one tenant. Who
/// comes in excess is told when its turn is.
pub const RENEWALS_PER_SECOND: u32 = 500;
pub const RENEWALS_BURST: u32 = 10_000;
pub const RENEWALS_PER_TENANT_AND_SECOND: u32 = 250;
pub const RENEWALS_PER_TENANT_BURST: u32 = 5_000;
/// Devices and certificates whose time has come that are read at once.
pub const ROTATIONS_PER_PAGE: u32 = 500;
/// Refusals of devices that one tenant's journal takes (burst, then a minute); the rest are counted in the next one.
pub const REFUSALS_JOURNALED_BURST: u32 = 30;
pub const REFUSALS_JOURNALED_PER_MINUTE: u32 = 6;
/// Failed sign-ins of one address (burst, then a minute).
pub const AUTH_FAILURES_BURST: u32 = 20;
pub const AUTH_FAILURES_PER_MINUTE: u32 = 20;
/// Event streams open at once, in one tenant.
pub const EVENT_STREAMS_PER_TENANT: usize = 100;
/// Named shadows of one device.
pub const SHADOW_NAMES_PER_DEVICE: u32 = 100;
/// Details of one report on a deployment, and the bytes of a key and of a value.
pub const DEPLOYMENT_DETAILS: usize = 32;
pub const DEPLOYMENT_DETAIL_KEY_BYTES: usize = 128;
pub const DEPLOYMENT_DETAIL_BYTES: usize = 1024;
/// Commands that wait for one device, and those that are under way on it at once.
pub const COMMANDS_QUEUED: u32 = 100;
pub const COMMANDS_IN_FLIGHT: usize = 10;
/// What a command carries, and what a device answers as its result.
pub const COMMAND_PAYLOAD_BYTES: usize = 64 * 1024;
/// Commands of a tenant that are written down to be sent often.
pub const COMMAND_TEMPLATES: u64 = 1000;
pub const COMMAND_RESULT_BYTES: usize = 16 * 1024;
/// The name of an operation, of a lane, of what is superseded, and a media type.
pub const COMMAND_NAME_BYTES: usize = 64;
pub const COMMAND_CONTENT_TYPE_BYTES: usize = 127;
/// Why a device answers as it does: the code and the words.
pub const COMMAND_REASON_CODE_BYTES: usize = 64;
pub const COMMAND_REASON_BYTES: usize = 1024;
/// How long a command may wait, how long its answer or its end may take, and how often it is sent.
pub const COMMAND_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);
pub const COMMAND_ATTEMPTS: u32 = 100;
/// Devices that one request sends a command to; more are a job.
pub const COMMAND_TARGETS: u32 = 1000;
/// Devices whose commands one tick looks after.
pub const COMMANDS_PER_TICK: u32 = 1000;
/// How many days a command is kept after its end, and how many of one device, where a tenant says nothing of it; and the most
/// that it may say.
pub const COMMAND_RETENTION_DAYS: u32 = 180;
pub const COMMAND_RETENTION_DAYS_MAX: u32 = 3650;
pub const COMMANDS_KEPT_PER_DEVICE: u32 = 1000;
pub const COMMANDS_KEPT_PER_DEVICE_MAX: u32 = 100_000;
/// Rows that one transaction forgets of what became of commands and jobs, and such transactions of a tenant in one turn.
pub const RETENTION_PAGE: u32 = 1000;
pub const RETENTION_PAGES_PER_TICK: u32 = 50;
/// The document of a job, its description, and the comment to its end.
pub const JOB_DOCUMENT_CHARS: usize = 32_768;
pub const JOB_DESCRIPTION_CHARS: usize = 2028;
/// Selectors that say who a job is for, and the windows in which it hands out.
pub const JOB_TARGETS: usize = 100;
pub const JOB_WINDOWS: usize = 16;
/// Devices that the targets of a job name.
pub const JOB_DEVICES: usize = 10_000;
/// Steps of a job document that an agent takes, and the words that a step gives its program.
pub const JOB_STEPS: usize = 64;
pub const JOB_STEP_ARGUMENTS: usize = 64;
/// Executions a minute that a job may be held to.
pub const JOB_RATE_PER_MINUTE: u32 = 100_000;
/// Executions that one transaction hands out or ends; those of a job with a rate, which are a second's; and turns of one job
/// before others have theirs.
pub const JOB_EXECUTIONS_PER_TRANSACTION: u32 = 500;
pub const JOB_EXECUTIONS_PER_SECOND: u32 = 2000;
pub const JOB_PAGES_PER_TICK: u32 = 20;
/// Jobs of all tenants that are looked at, and executions whose time is over that are read, at once.
pub const JOBS_PER_PAGE: u32 = 100;
pub const JOB_TIMERS_PER_PAGE: u32 = 500;
/// Jobs of a tenant that have not ended.
pub const JOBS_OPEN_PER_TENANT: u64 = 1000;
/// How many days a job is kept after its end, with what its devices did, and how many such jobs, where a tenant says nothing of
/// it; and the most that it may say.
pub const JOB_RETENTION_DAYS: u32 = 90;
pub const JOB_RETENTION_DAYS_MAX: u32 = 3650;
pub const JOBS_KEPT: u32 = 10_000;
pub const JOBS_KEPT_MAX: u32 = 100_000;
/// Tries of one device at one job that are kept, the last one included.
pub const JOB_TRIES_KEPT: u64 = 20;
/// Executions that a device is shown as pending.
pub const JOBS_PENDING_SHOWN: u32 = 15;
/// The name of a rollout, and the note to a pause.
pub const ROLLOUT_NAME_BYTES: usize = 200;
pub const ROLLOUT_NOTE_BYTES: usize = 1024;
/// Connections and disconnections that wait to be written while the store is away; past it the oldest lose their journal
/// row, never their presence.
pub const PRESENCE_TRANSITIONS: usize = 100_000;
/// Missed and regained heartbeats that one look reports; the others wait for the next one.
pub const HEARTBEAT_REPORTS_PER_LOOK: usize = 1000;
/// How long an enrolment token is kept after its end, for whoever asks what became of it.
pub const ENROLL_TOKEN_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a device may stay on offer to another tenant, and how long an offer is kept after its end.
pub const TRANSFER_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
pub const TRANSFER_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// A device on its way to another tenant asks for its order again not before this.
pub const TRANSFER_ORDER_EVERY: Duration = Duration::from_secs(30);
/// An event log of a TPM, and its events.
pub const EVENT_LOG_BYTES: usize = 512 * 1024;
pub const EVENT_LOG_EVENTS: usize = 4096;
/// An attestation token, measurements in one piece of evidence, keys that a token is tried with, certificates of a DICE
/// chain.
pub const ATTESTATION_TOKEN_BYTES: usize = 64 * 1024;
pub const ATTESTATION_MEASUREMENTS: usize = 4096;
pub const ATTESTATION_KEYS_TRIED: usize = 64;
pub const DICE_LAYERS: usize = 8;
/// Reasons of one verdict; digests of one set of reference values, and devices that teach one.
pub const ATTESTATION_REASONS: usize = 32;
pub const ATTESTATION_REFERENCES: usize = 4096;
pub const ATTESTATION_TEACHERS: u32 = 1000;
/// Configured roots and keys of attestation, in one tenant.
pub const ATTESTATION_ANCHORS: u32 = 1000;
/// How long a challenge waits for its answer.
pub const ATTESTATION_CHALLENGE_TTL: Duration = Duration::from_secs(120);
/// How long a certificate is issued for a key that a TPM vouched for, and how long that is kept.
pub const CERTIFIED_KEY_TTL: Duration = Duration::from_secs(3600);
pub const CERTIFIED_KEY_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Attestation: one message of a device.
pub const ATTESTATION_BYTES: usize = 1024 * 1024;
/// Devices found overdue in one look.
pub const ATTESTATION_OVERDUE_PER_LOOK: u32 = 1000;
/// How long a transaction of SCEP is remembered, for clients that poll or ask again.
pub const SCEP_TRANSACTION_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
