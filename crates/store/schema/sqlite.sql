-- Made from the migrations, to be read; `migrations/sqlite/` is what is applied.

CREATE TABLE access_key (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    principal TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    secret BLOB NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    disabled_at INTEGER,
    UNIQUE (id),
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE anchor_held (
    tenant_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    device TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, fingerprint, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_token (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    revoked_at INTEGER,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE artifact (
    tenant_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, sha256)
) STRICT, WITHOUT ROWID;

CREATE TABLE attestation (
    tenant_id TEXT NOT NULL,
    device TEXT NOT NULL,
    challenge BLOB,
    challenge_until INTEGER,
    pending TEXT,
    identity TEXT,
    root TEXT,
    anchor TEXT,
    attestation_key BLOB,
    key_certificate BLOB,
    format TEXT,
    verdict TEXT,
    reasons TEXT NOT NULL,
    measurements TEXT NOT NULL,
    boots INTEGER,
    clock_ms INTEGER,
    attested_at INTEGER,
    lapsed INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, certified_key BLOB,
    PRIMARY KEY (tenant_id, device)
) STRICT;

CREATE INDEX attestation_age ON attestation (tenant_id, lapsed, attested_at);

CREATE INDEX attestation_identity ON attestation (tenant_id, identity);

CREATE TABLE attestation_anchor (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    root TEXT NOT NULL,
    value BLOB NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE attestation_reference (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    hardware TEXT NOT NULL,
    firmware TEXT NOT NULL,
    state TEXT NOT NULL,
    wanted INTEGER NOT NULL,
    teachers TEXT NOT NULL,
    measurements TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE auth_failure (
    tenant_id TEXT NOT NULL,
    hour INTEGER NOT NULL,
    cause TEXT NOT NULL,
    issuer TEXT NOT NULL,
    region TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, hour, cause, issuer, region)
) STRICT, WITHOUT ROWID;

CREATE TABLE authority (
    tenant_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    kind TEXT NOT NULL,
    der BLOB NOT NULL,
    key_purpose TEXT NOT NULL,
    not_after INTEGER NOT NULL,
    created_at INTEGER NOT NULL, revoked_at INTEGER, reason TEXT,
    PRIMARY KEY (tenant_id, fingerprint)
) STRICT;

CREATE TABLE authority_standing (
    tenant_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    standing TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, fingerprint)
) STRICT, WITHOUT ROWID;

CREATE TABLE ca_rotation (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    stage TEXT NOT NULL,
    old_ca TEXT NOT NULL,
    new_ca TEXT NOT NULL,
    plan TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    stage_at INTEGER NOT NULL,
    finished_at INTEGER,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX ca_rotation_open ON ca_rotation (tenant_id) WHERE finished_at IS NULL;

CREATE TABLE certificate (
    tenant_id TEXT NOT NULL,
    serial TEXT NOT NULL,
    device TEXT NOT NULL,
    authority TEXT NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,
    request BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    der BLOB NOT NULL,
    status TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    proven_at INTEGER,
    revoked_at INTEGER,
    reason TEXT, way TEXT NOT NULL DEFAULT 'token', source TEXT, crl_pending INTEGER NOT NULL DEFAULT 0, log_index INTEGER, replace_by INTEGER, replace_job TEXT,
    PRIMARY KEY (tenant_id, serial)
) STRICT;

CREATE INDEX certificate_authority ON certificate (tenant_id, authority)
    WHERE status NOT IN ('pending', 'retired', 'revoked');

CREATE INDEX certificate_device ON certificate (tenant_id, device, issued_at);

CREATE INDEX certificate_expiry ON certificate (tenant_id, not_after) WHERE status IN ('proven', 'active');

CREATE UNIQUE INDEX certificate_logged ON certificate (tenant_id, log_index) WHERE log_index IS NOT NULL;

CREATE INDEX certificate_pending ON certificate (tenant_id, serial) WHERE crl_pending = 1;

CREATE INDEX certificate_replaced ON certificate (tenant_id, replace_job, serial) WHERE replace_job IS NOT NULL;

CREATE INDEX certificate_revoked ON certificate (tenant_id, authority) WHERE status IN ('retired', 'revoked');

CREATE INDEX certificate_revoked_tail ON certificate (tenant_id, authority, substr(serial, -2))
    WHERE status IN ('retired', 'revoked');

CREATE INDEX certificate_unlogged ON certificate (tenant_id, issued_at, serial) WHERE log_index IS NULL;

CREATE TABLE claim (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    template TEXT NOT NULL,
    serial TEXT NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,
    der BLOB NOT NULL,
    count_cap INTEGER,
    used INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    PRIMARY KEY (tenant_id, name)
) STRICT;

CREATE TABLE claim_code (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    hash BLOB NOT NULL,
    subject_kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    used_by TEXT,
    revoked_at INTEGER, certificate TEXT,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX claim_code_hash ON claim_code (tenant_id, hash);

CREATE INDEX claim_code_subject ON claim_code (tenant_id, subject_kind, subject);

CREATE TABLE command (
    tenant_id TEXT NOT NULL,
    device TEXT NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    op TEXT NOT NULL,
    content_type TEXT NOT NULL,
    payload BLOB NOT NULL,
    lane TEXT NOT NULL,
    dedupe TEXT,
    not_before INTEGER,
    expires_at INTEGER NOT NULL,
    ack_timeout_ms INTEGER NOT NULL,
    run_timeout_ms INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    on_expiry TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    reason_code TEXT,
    reason_text TEXT,
    result TEXT,
    version INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    sent_at INTEGER,
    started_at INTEGER,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    due_at INTEGER,
    PRIMARY KEY (tenant_id, device, id)
) STRICT;

CREATE INDEX command_age ON command (tenant_id, updated_at) WHERE due_at IS NULL;

CREATE INDEX command_due ON command (tenant_id, due_at) WHERE due_at IS NOT NULL;

CREATE INDEX command_id ON command (tenant_id, id, device);

CREATE INDEX command_op ON command (tenant_id, op, id, device);

CREATE UNIQUE INDEX command_order ON command (tenant_id, device, seq);

CREATE TABLE command_template (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    title TEXT,
    description TEXT,
    content_type TEXT NOT NULL,
    payload BLOB NOT NULL,
    deprecated INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE crl (
    tenant_id TEXT NOT NULL,
    authority TEXT NOT NULL,
    label TEXT NOT NULL,
    number INTEGER NOT NULL,
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    der BLOB NOT NULL,
    PRIMARY KEY (tenant_id, authority, label)
) STRICT;

CREATE TABLE deny_list (
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, kind, value)
) STRICT;

CREATE TABLE deployment (
    tenant_id TEXT NOT NULL,
    rollout TEXT NOT NULL,
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    phase INTEGER NOT NULL,
    status TEXT NOT NULL,
    step TEXT,
    hardware TEXT NOT NULL,
    from_version TEXT,
    detail TEXT,
    version INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    started_at INTEGER,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (tenant_id, rollout, device, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX deployment_device ON deployment (tenant_id, device, rollout);

CREATE UNIQUE INDEX deployment_one_active ON deployment (tenant_id, device) WHERE status IN ('queued', 'in_progress');

CREATE INDEX deployment_rollout ON deployment (tenant_id, rollout, status);

CREATE TABLE device (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    class TEXT NOT NULL,
    hardware TEXT NOT NULL,
    firmware TEXT,
    status TEXT NOT NULL,
    owner TEXT,
    environment TEXT,
    site TEXT,
    location TEXT,
    parent TEXT,
    endpoint TEXT,
    tags TEXT NOT NULL,
    attributes TEXT NOT NULL,
    certificate_serial TEXT,
    certificate_not_after INTEGER,
    heartbeat_s INTEGER,
    revision INTEGER NOT NULL,
    provisioned_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX device_updated ON device (tenant_id, updated_at, id);

CREATE TABLE device_did (
    tenant_id TEXT NOT NULL,
    did TEXT NOT NULL,
    device TEXT NOT NULL,
    key_id TEXT NOT NULL,
    public_key BLOB NOT NULL,
    added_by TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, did)
) STRICT;

CREATE INDEX device_did_device ON device_did (tenant_id, device, did);

CREATE TABLE device_group (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    attributes TEXT NOT NULL,
    parent TEXT,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, query TEXT, settled_at INTEGER,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX device_group_dynamic ON device_group (tenant_id, name) WHERE query IS NOT NULL;

CREATE INDEX device_group_parent ON device_group (tenant_id, parent, name);

CREATE TABLE device_presence (
    tenant_id TEXT NOT NULL,
    device TEXT NOT NULL,
    online INTEGER NOT NULL,
    last_seen INTEGER,
    connected_at INTEGER,
    disconnected_at INTEGER,
    reason TEXT,
    address TEXT,
    PRIMARY KEY (tenant_id, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE device_type (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    searchable TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    deprecated_at INTEGER,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE dps_registration (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    operation TEXT NOT NULL,
    status TEXT NOT NULL,
    enrollment TEXT,
    serial TEXT,
    request BLOB,
    payload TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE enroll_token (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    device TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    attempts INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    used_csr BLOB,
    revoked_at INTEGER, kind TEXT NOT NULL DEFAULT 'enroll',
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX enroll_token_device ON enroll_token (tenant_id, device);

CREATE TABLE enrollment (
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    primary_key BLOB NOT NULL,
    secondary_key BLOB NOT NULL,
    class TEXT,
    hardware TEXT,
    payload TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    rotated_at INTEGER,
    revoked_at INTEGER,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, kind, name)
) STRICT;

CREATE TABLE enrollment_request (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_code TEXT NOT NULL,
    device TEXT NOT NULL,
    way TEXT NOT NULL,
    key_fingerprint TEXT,
    facts TEXT NOT NULL,
    address TEXT,
    state TEXT NOT NULL,
    device_code BLOB UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    decided_by TEXT,
    decided_at INTEGER,
    note TEXT,
    token TEXT,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX enrollment_request_age ON enrollment_request (tenant_id, created_at, id);

CREATE UNIQUE INDEX enrollment_request_code ON enrollment_request (tenant_id, user_code);

CREATE INDEX enrollment_request_device ON enrollment_request (tenant_id, device);

CREATE TABLE factory_authority (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    der BLOB NOT NULL,
    mode TEXT NOT NULL,
    template TEXT,
    status TEXT NOT NULL,
    not_after INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE TABLE factory_certificate (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    authority TEXT NOT NULL,
    name TEXT NOT NULL,
    serial_number TEXT,
    device TEXT,
    der BLOB NOT NULL,
    status TEXT NOT NULL,
    address TEXT,
    first_seen_at INTEGER NOT NULL,
    activated_at INTEGER,
    activated_by TEXT,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX factory_certificate_status ON factory_certificate (tenant_id, status, id);

CREATE TABLE id_scope (
    tenant_id TEXT NOT NULL,
    scope TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT;

CREATE TABLE idempotency (
    tenant_id TEXT NOT NULL,
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    response BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, principal, key)
) STRICT;

CREATE INDEX idempotency_age ON idempotency (tenant_id, created_at);

CREATE TABLE installation (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE inventory (
    tenant_id TEXT NOT NULL,
    serial TEXT NOT NULL,
    device TEXT NOT NULL,
    class TEXT,
    hardware TEXT,
    ek_hash TEXT,
    batch TEXT,
    maker TEXT,
    root_of_trust TEXT,
    attestation TEXT,
    attested_by TEXT,
    imported_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, serial)
) STRICT;

CREATE INDEX inventory_batch ON inventory (tenant_id, batch, serial) WHERE batch IS NOT NULL;

CREATE UNIQUE INDEX inventory_device ON inventory (tenant_id, device);

CREATE INDEX inventory_endorsement ON inventory (tenant_id, ek_hash) WHERE ek_hash IS NOT NULL;

CREATE TABLE issuer (
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    config TEXT NOT NULL,
    credential BLOB NOT NULL,
    revision INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE issuer_told (
    tenant_id TEXT NOT NULL,
    serial TEXT NOT NULL,
    told_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, serial)
) STRICT, WITHOUT ROWID;

CREATE TABLE job (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    description TEXT,
    targets TEXT NOT NULL,
    selection TEXT NOT NULL,
    policy TEXT NOT NULL,
    windowed INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason_code TEXT,
    comment TEXT,
    force INTEGER NOT NULL,
    rollout_over INTEGER NOT NULL,
    cursor_target INTEGER NOT NULL,
    cursor_device TEXT NOT NULL,
    pace TEXT NOT NULL,
    handed INTEGER NOT NULL,
    window_open INTEGER NOT NULL,
    look_at INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    completed_at INTEGER,
    revision INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX job_due ON job (look_at) WHERE look_at IS NOT NULL;

CREATE INDEX job_open ON job (tenant_id, id) WHERE completed_at IS NULL;

CREATE INDEX job_over ON job (tenant_id, completed_at, id) WHERE completed_at IS NOT NULL;

CREATE TABLE job_execution (
    tenant_id TEXT NOT NULL,
    job TEXT NOT NULL,
    device TEXT NOT NULL,
    number INTEGER NOT NULL,
    latest INTEGER NOT NULL,
    status TEXT NOT NULL,
    detail TEXT,
    version INTEGER NOT NULL,
    failed_before INTEGER NOT NULL,
    timed_out_before INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    started_at INTEGER,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    timeout_at INTEGER,
    step_timeout_at INTEGER,
    due_at INTEGER,
    PRIMARY KEY (tenant_id, job, device, number)
) STRICT;

CREATE INDEX job_execution_device ON job_execution (tenant_id, device, job, number);

CREATE INDEX job_execution_due ON job_execution (due_at) WHERE due_at IS NOT NULL;

CREATE INDEX job_execution_earlier ON job_execution (tenant_id, finished_at) WHERE latest = 0;

CREATE UNIQUE INDEX job_execution_latest ON job_execution (tenant_id, job, device) WHERE latest = 1;

CREATE INDEX job_execution_pending ON job_execution (tenant_id, device, queued_at) WHERE status IN ('queued', 'in_progress');

CREATE INDEX job_execution_standing ON job_execution (tenant_id, job, status, device) WHERE latest = 1;

CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    device TEXT,
    subject TEXT,
    outcome TEXT NOT NULL,
    severity TEXT NOT NULL,
    detail TEXT NOT NULL,
    request_id TEXT,
    seq INTEGER,
    chain BLOB
) STRICT;

CREATE INDEX journal_device ON journal (tenant_id, device, id) WHERE device IS NOT NULL;

CREATE INDEX journal_ends ON journal (id) WHERE action IN ('attestation.overdue', 'attestation.verdict', 'ca.revoked',
    'certificate.forgotten', 'certificate.retired', 'certificate.revoked', 'claim.revoked', 'deny_list.changed',
    'device.decommissioned', 'device.revoked', 'device.status_changed', 'device.transferred', 'device.updated',
    'factory_authority.revoked');

CREATE UNIQUE INDEX journal_sealed ON journal (tenant_id, seq) WHERE seq IS NOT NULL;

CREATE INDEX journal_tenant ON journal (tenant_id, id);

CREATE INDEX journal_unsealed ON journal (tenant_id, id) WHERE seq IS NULL;

CREATE INDEX journal_waited ON journal (tenant_id, subject) WHERE action = 'certificate.pending';

CREATE TABLE label_set (
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE maker (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    public_key BLOB NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT;

CREATE TABLE mqtt_queue (
    tenant_id TEXT NOT NULL,
    client TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    messages BLOB NOT NULL,
    PRIMARY KEY (tenant_id, client, first_seq)
) STRICT;

CREATE TABLE mqtt_retained (
    tenant_id TEXT NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    qos INTEGER NOT NULL,
    properties BLOB,
    stored_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, topic)
) STRICT;

CREATE TABLE mqtt_session (
    tenant_id TEXT NOT NULL,
    client TEXT NOT NULL,
    expiry_s INTEGER NOT NULL,
    disconnected_at INTEGER,
    acked_seq INTEGER NOT NULL,
    protocol INTEGER NOT NULL,
    created_at INTEGER NOT NULL, exchanges BLOB,
    PRIMARY KEY (tenant_id, client)
) STRICT, WITHOUT ROWID;

CREATE TABLE mqtt_subscription (
    tenant_id TEXT NOT NULL,
    client TEXT NOT NULL,
    filter TEXT NOT NULL,
    qos INTEGER NOT NULL,
    options INTEGER NOT NULL, identifier INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, client, filter)
) STRICT, WITHOUT ROWID;

CREATE TABLE mqtt_will (
    tenant_id TEXT NOT NULL,
    client TEXT NOT NULL,
    will BLOB NOT NULL, server TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, client)
) STRICT, WITHOUT ROWID;

CREATE TABLE ocsp_responder (
    tenant_id TEXT NOT NULL,
    authority TEXT NOT NULL,
    der BLOB NOT NULL,
    key_purpose TEXT NOT NULL,
    renew_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, authority)
) STRICT;

CREATE TABLE other_certificate (
    tenant_id TEXT NOT NULL,
    serial TEXT NOT NULL,
    authority TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    kind TEXT NOT NULL,
    der BLOB NOT NULL,
    issued_at INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    revoked_at INTEGER,
    reason TEXT,
    crl_pending INTEGER NOT NULL DEFAULT 0,
    log_index INTEGER,
    PRIMARY KEY (tenant_id, serial)
) STRICT;

CREATE INDEX other_certificate_authority ON other_certificate (tenant_id, authority);

CREATE UNIQUE INDEX other_certificate_logged ON other_certificate (tenant_id, log_index) WHERE log_index IS NOT NULL;

CREATE INDEX other_certificate_pending ON other_certificate (tenant_id, serial) WHERE crl_pending = 1;

CREATE INDEX other_certificate_revoked_tail ON other_certificate (tenant_id, authority, substr(serial, -2))
    WHERE revoked_at IS NOT NULL;

CREATE INDEX other_certificate_unlogged ON other_certificate (tenant_id, issued_at, serial) WHERE log_index IS NULL;

CREATE TABLE pending_certificate (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    token BLOB NOT NULL,
    claim TEXT NOT NULL,
    connection TEXT NOT NULL,
    serial TEXT NOT NULL,
    authority TEXT NOT NULL,
    request BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    der BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX pending_certificate_claim ON pending_certificate (tenant_id, claim, expires_at);

CREATE UNIQUE INDEX pending_certificate_token ON pending_certificate (tenant_id, token);

CREATE TABLE policy_source (
    tenant_id TEXT NOT NULL,
    policy TEXT NOT NULL,
    version INTEGER NOT NULL,
    source TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, policy, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE provisioning_template (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    hook_url TEXT,
    hook_secret BLOB,
    hook_ca TEXT,
    enabled INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT;

CREATE TABLE registration_code (
    tenant_id TEXT NOT NULL,
    code TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE release (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    signer TEXT NOT NULL,
    key_id TEXT NOT NULL,
    manifest BLOB NOT NULL,
    signature BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name, version)
) STRICT;

CREATE TABLE renewal_request (
    tenant_id TEXT NOT NULL,
    device TEXT NOT NULL,
    id TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_once INTEGER NOT NULL,
    asked_by TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE revocation (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    status TEXT NOT NULL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    certificates INTEGER NOT NULL,
    cursor TEXT NOT NULL,
    due_at INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX revocation_open ON revocation (tenant_id, id) WHERE finished_at IS NULL;

CREATE TABLE rollout (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    release TEXT NOT NULL,
    selector TEXT NOT NULL,
    policy TEXT NOT NULL,
    state TEXT NOT NULL,
    phase INTEGER NOT NULL,
    phase_started_at INTEGER,
    gate_met_at INTEGER,
    pause_reason TEXT,
    target_count INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX rollout_due ON rollout (tenant_id, id) WHERE state IN ('running', 'rolling_back');

CREATE TABLE rotation (
    tenant_id TEXT NOT NULL,
    serial TEXT NOT NULL,
    device TEXT NOT NULL,
    id TEXT NOT NULL,
    deadline INTEGER,
    sessions INTEGER NOT NULL,
    session_at INTEGER,
    told INTEGER,
    alert_at INTEGER,
    PRIMARY KEY (tenant_id, serial)
) STRICT, WITHOUT ROWID;

CREATE INDEX rotation_alert ON rotation (tenant_id, alert_at) WHERE alert_at IS NOT NULL;

CREATE INDEX rotation_due ON rotation (tenant_id, deadline) WHERE deadline IS NOT NULL;

CREATE TABLE rotation_campaign (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    renewal TEXT NOT NULL,
    selector TEXT NOT NULL,
    policy TEXT NOT NULL,
    state TEXT NOT NULL,
    phase INTEGER NOT NULL,
    phase_started_at INTEGER,
    gate_met_at INTEGER,
    pause_reason TEXT,
    target_count INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX rotation_campaign_due ON rotation_campaign (tenant_id, id) WHERE state = 'running';

CREATE TABLE rotation_member (
    tenant_id TEXT NOT NULL,
    campaign TEXT NOT NULL,
    device TEXT NOT NULL,
    phase INTEGER NOT NULL,
    hardware TEXT NOT NULL,
    status TEXT NOT NULL,
    queued_at INTEGER NOT NULL,
    asked_at INTEGER,
    finished_at INTEGER,
    PRIMARY KEY (tenant_id, campaign, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX rotation_member_open ON rotation_member (tenant_id, campaign, status);

CREATE TABLE scep_transaction (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    device TEXT NOT NULL,
    request BLOB NOT NULL,
    asker BLOB NOT NULL,
    waiting BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX scep_transaction_age ON scep_transaction (tenant_id, created_at);

CREATE TABLE sealed_key (
    tenant_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    sealed BLOB NOT NULL,
    public BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, purpose)
) STRICT;

CREATE TABLE server (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    beat INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE shadow (
    tenant_id TEXT NOT NULL,
    device TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    document TEXT NOT NULL,
    metadata TEXT NOT NULL,
    deleted_at INTEGER,
    updated_at INTEGER NOT NULL, changes INTEGER NOT NULL DEFAULT 0, watch TEXT,
    PRIMARY KEY (tenant_id, device, name)
) STRICT;

CREATE INDEX shadow_config ON shadow (tenant_id, device) WHERE name = 'config';

CREATE TABLE shadow_event (
    tenant_id TEXT NOT NULL,
    device TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    patch TEXT NOT NULL,
    PRIMARY KEY (tenant_id, device, name, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE signer (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    public_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, key_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE tenant (
    tenant_id TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    settings TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE token_issuer (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    issuer TEXT NOT NULL,
    rules TEXT NOT NULL,
    jwks TEXT,
    jwks_url TEXT,
    anchors TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    disabled_at INTEGER,
    PRIMARY KEY (tenant_id, name),
    UNIQUE (tenant_id, issuer)
) STRICT, WITHOUT ROWID;

CREATE TABLE token_use (
    tenant_id TEXT NOT NULL,
    issuer TEXT NOT NULL,
    id TEXT NOT NULL,
    request BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, issuer, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX token_use_end ON token_use (tenant_id, expires_at);

CREATE TABLE topic_policy (
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    default_version INTEGER NOT NULL,
    latest_version INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, rules INTEGER NOT NULL DEFAULT 0, pattern_bytes INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE topic_policy_attachment (
    tenant_id TEXT NOT NULL,
    policy TEXT NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    attached_by TEXT NOT NULL,
    attached_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, policy, kind, target)
) STRICT, WITHOUT ROWID;

CREATE INDEX topic_policy_attachment_target ON topic_policy_attachment (tenant_id, kind, target);

CREATE TABLE topic_policy_change (
    tenant_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE topic_policy_version (
    tenant_id TEXT NOT NULL,
    policy TEXT NOT NULL,
    version INTEGER NOT NULL,
    document TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, policy, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE transfer (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    device TEXT NOT NULL,
    to_tenant TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    accepted_at INTEGER,
    canceled_at INTEGER, to_device TEXT, wipe TEXT, wipe_by INTEGER, told_at INTEGER, overdue_at INTEGER, completed_at INTEGER, wiped TEXT, token TEXT,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX transfer_device ON transfer (tenant_id, device);

CREATE INDEX transfer_wiping ON transfer (tenant_id, wipe_by)
    WHERE accepted_at IS NOT NULL AND completed_at IS NULL AND canceled_at IS NULL;

CREATE TABLE transparency_log (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    checkpoint TEXT NOT NULL,
    signed_at INTEGER NOT NULL
) STRICT;

CREATE TABLE transparency_tile (
    tenant_id TEXT NOT NULL,
    level INTEGER NOT NULL,
    place INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (tenant_id, level, place)
) STRICT;

CREATE TABLE vault_epoch (
    tenant_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT;

CREATE TABLE vault_hold (
    tenant_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    held_by TEXT NOT NULL,
    held_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id)
) STRICT;

CREATE TABLE vault_key (
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    wrapped_by TEXT NOT NULL,
    active INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER,
    PRIMARY KEY (tenant_id, kind, version)
) STRICT;

CREATE TABLE vouched_key (
    tenant_id TEXT NOT NULL,
    device TEXT NOT NULL,
    pending TEXT,
    key TEXT,
    identity TEXT,
    until INTEGER,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX vouched_key_age ON vouched_key (tenant_id, updated_at);
