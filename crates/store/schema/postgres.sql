-- Made from the migrations, to be read; `migrations/postgres/` is what is applied.

CREATE TABLE access_key (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    secret bytea NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    last_used_at bigint,
    disabled_at bigint,
    CONSTRAINT access_key_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT access_key_id_key UNIQUE (id)
);

ALTER TABLE access_key ENABLE ROW LEVEL SECURITY;

ALTER TABLE access_key FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON access_key USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE anchor_held (
    tenant_id text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    since bigint NOT NULL,
    CONSTRAINT anchor_held_pkey PRIMARY KEY (tenant_id, fingerprint, device)
);

ALTER TABLE anchor_held ENABLE ROW LEVEL SECURITY;

ALTER TABLE anchor_held FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON anchor_held USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE api_token (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    hash bytea NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    last_used_at bigint,
    revoked_at bigint,
    CONSTRAINT api_token_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT api_token_hash_key UNIQUE (hash)
);

ALTER TABLE api_token ENABLE ROW LEVEL SECURITY;

ALTER TABLE api_token FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON api_token USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE artifact (
    tenant_id text COLLATE "C" NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    size bigint NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT artifact_pkey PRIMARY KEY (tenant_id, sha256)
);

ALTER TABLE artifact ENABLE ROW LEVEL SECURITY;

ALTER TABLE artifact FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON artifact USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE attestation (
    tenant_id text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    challenge bytea,
    challenge_until bigint,
    pending text COLLATE "C",
    identity text COLLATE "C",
    root text COLLATE "C",
    anchor text COLLATE "C",
    attestation_key bytea,
    key_certificate bytea,
    format text COLLATE "C",
    verdict text COLLATE "C",
    reasons text COLLATE "C" NOT NULL,
    measurements text COLLATE "C" NOT NULL,
    boots bigint,
    clock_ms bigint,
    attested_at bigint,
    lapsed bigint NOT NULL,
    updated_at bigint NOT NULL,
    certified_key bytea,
    CONSTRAINT attestation_pkey PRIMARY KEY (tenant_id, device)
);

CREATE INDEX attestation_age ON public.attestation USING btree (tenant_id, lapsed, attested_at);

CREATE INDEX attestation_identity ON public.attestation USING btree (tenant_id, identity);

ALTER TABLE attestation ENABLE ROW LEVEL SECURITY;

ALTER TABLE attestation FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON attestation USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE attestation_anchor (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    root text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT attestation_anchor_pkey PRIMARY KEY (tenant_id, id)
);

ALTER TABLE attestation_anchor ENABLE ROW LEVEL SECURITY;

ALTER TABLE attestation_anchor FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON attestation_anchor USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE attestation_reference (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    hardware text COLLATE "C" NOT NULL,
    firmware text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    wanted bigint NOT NULL,
    teachers text COLLATE "C" NOT NULL,
    measurements text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT attestation_reference_pkey PRIMARY KEY (tenant_id, id)
);

ALTER TABLE attestation_reference ENABLE ROW LEVEL SECURITY;

ALTER TABLE attestation_reference FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON attestation_reference USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE auth_failure (
    tenant_id text COLLATE "C" NOT NULL,
    hour bigint NOT NULL,
    cause text COLLATE "C" NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    region text COLLATE "C" NOT NULL,
    count bigint NOT NULL,
    CONSTRAINT auth_failure_pkey PRIMARY KEY (tenant_id, hour, cause, issuer, region)
);

ALTER TABLE auth_failure ENABLE ROW LEVEL SECURITY;

ALTER TABLE auth_failure FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON auth_failure USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE authority (
    tenant_id text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    der bytea NOT NULL,
    key_purpose text COLLATE "C" NOT NULL,
    not_after bigint NOT NULL,
    created_at bigint NOT NULL,
    revoked_at bigint,
    reason text COLLATE "C",
    CONSTRAINT authority_pkey PRIMARY KEY (tenant_id, fingerprint)
);

ALTER TABLE authority ENABLE ROW LEVEL SECURITY;

ALTER TABLE authority FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON authority USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE authority_standing (
    tenant_id text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    standing text COLLATE "C" NOT NULL,
    since bigint NOT NULL,
    CONSTRAINT authority_standing_pkey PRIMARY KEY (tenant_id, fingerprint)
);

ALTER TABLE authority_standing ENABLE ROW LEVEL SECURITY;

ALTER TABLE authority_standing FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON authority_standing USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE ca_rotation (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    stage text COLLATE "C" NOT NULL,
    old_ca text COLLATE "C" NOT NULL,
    new_ca text COLLATE "C" NOT NULL,
    plan text COLLATE "C" NOT NULL,
    started_at bigint NOT NULL,
    stage_at bigint NOT NULL,
    finished_at bigint,
    revision bigint NOT NULL,
    CONSTRAINT ca_rotation_pkey PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX ca_rotation_open ON public.ca_rotation USING btree (tenant_id) WHERE (finished_at IS NULL);

ALTER TABLE ca_rotation ENABLE ROW LEVEL SECURITY;

ALTER TABLE ca_rotation FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON ca_rotation USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE certificate (
    tenant_id text COLLATE "C" NOT NULL,
    serial text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    authority text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    request bytea NOT NULL,
    not_before bigint NOT NULL,
    not_after bigint NOT NULL,
    der bytea NOT NULL,
    status text COLLATE "C" NOT NULL,
    issued_at bigint NOT NULL,
    proven_at bigint,
    revoked_at bigint,
    reason text COLLATE "C",
    way text COLLATE "C" DEFAULT 'token'::text NOT NULL,
    source text COLLATE "C",
    crl_pending bigint DEFAULT 0 NOT NULL,
    log_index bigint,
    replace_by bigint,
    replace_job text COLLATE "C",
    CONSTRAINT certificate_pkey PRIMARY KEY (tenant_id, serial),
    CONSTRAINT certificate_fingerprint_key UNIQUE (fingerprint)
);

CREATE INDEX certificate_authority ON public.certificate USING btree (tenant_id, authority) WHERE (status <> ALL (ARRAY['pending'::text, 'retired'::text, 'revoked'::text]));

CREATE INDEX certificate_device ON public.certificate USING btree (tenant_id, device, issued_at);

CREATE INDEX certificate_expiry ON public.certificate USING btree (tenant_id, not_after) WHERE (status = ANY (ARRAY['proven'::text, 'active'::text]));

CREATE UNIQUE INDEX certificate_logged ON public.certificate USING btree (tenant_id, log_index) WHERE (log_index IS NOT NULL);

CREATE INDEX certificate_pending ON public.certificate USING btree (tenant_id, serial) WHERE (crl_pending = 1);

CREATE INDEX certificate_replaced ON public.certificate USING btree (tenant_id, replace_job, serial) WHERE (replace_job IS NOT NULL);

CREATE INDEX certificate_revoked ON public.certificate USING btree (tenant_id, authority) WHERE (status = ANY (ARRAY['retired'::text, 'revoked'::text]));

CREATE INDEX certificate_revoked_tail ON public.certificate USING btree (tenant_id, authority, "right"(serial, 2)) WHERE (status = ANY (ARRAY['retired'::text, 'revoked'::text]));

CREATE INDEX certificate_unlogged ON public.certificate USING btree (tenant_id, issued_at, serial) WHERE (log_index IS NULL);

ALTER TABLE certificate ENABLE ROW LEVEL SECURITY;

ALTER TABLE certificate FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON certificate USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE claim (
    tenant_id text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    template text NOT NULL,
    serial text NOT NULL,
    fingerprint text NOT NULL,
    der bytea NOT NULL,
    count_cap bigint,
    used bigint NOT NULL,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    revoked_at bigint,
    CONSTRAINT claim_pkey PRIMARY KEY (tenant_id, name),
    CONSTRAINT claim_fingerprint_key UNIQUE (fingerprint)
);

ALTER TABLE claim ENABLE ROW LEVEL SECURITY;

ALTER TABLE claim FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON claim USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE claim_code (
    tenant_id text NOT NULL,
    id text NOT NULL,
    hash bytea NOT NULL,
    subject_kind text NOT NULL,
    subject text NOT NULL,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    used_at bigint,
    used_by text,
    revoked_at bigint,
    certificate text,
    CONSTRAINT claim_code_pkey PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX claim_code_hash ON public.claim_code USING btree (tenant_id, hash);

CREATE INDEX claim_code_subject ON public.claim_code USING btree (tenant_id, subject_kind, subject);

ALTER TABLE claim_code ENABLE ROW LEVEL SECURITY;

ALTER TABLE claim_code FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON claim_code USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE command (
    tenant_id text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    op text COLLATE "C" NOT NULL,
    content_type text COLLATE "C" NOT NULL,
    payload bytea NOT NULL,
    lane text COLLATE "C" NOT NULL,
    dedupe text COLLATE "C",
    not_before bigint,
    expires_at bigint NOT NULL,
    ack_timeout_ms bigint NOT NULL,
    run_timeout_ms bigint NOT NULL,
    max_attempts bigint NOT NULL,
    on_expiry text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    attempts bigint NOT NULL,
    reason_code text COLLATE "C",
    reason_text text COLLATE "C",
    result text COLLATE "C",
    version bigint NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    sent_at bigint,
    started_at bigint,
    updated_at bigint NOT NULL,
    finished_at bigint,
    due_at bigint,
    CONSTRAINT command_pkey PRIMARY KEY (tenant_id, device, id)
);

CREATE INDEX command_age ON public.command USING btree (tenant_id, updated_at) WHERE (due_at IS NULL);

CREATE INDEX command_due ON public.command USING btree (tenant_id, due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX command_id ON public.command USING btree (tenant_id, id, device);

CREATE INDEX command_op ON public.command USING btree (tenant_id, op, id, device);

CREATE UNIQUE INDEX command_order ON public.command USING btree (tenant_id, device, seq);

ALTER TABLE command ENABLE ROW LEVEL SECURITY;

ALTER TABLE command FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON command USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE command_template (
    tenant_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    title text COLLATE "C",
    description text COLLATE "C",
    content_type text COLLATE "C" NOT NULL,
    payload bytea NOT NULL,
    deprecated bigint NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT command_template_pkey PRIMARY KEY (tenant_id, name)
);

ALTER TABLE command_template ENABLE ROW LEVEL SECURITY;

ALTER TABLE command_template FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON command_template USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE crl (
    tenant_id text COLLATE "C" NOT NULL,
    authority text COLLATE "C" NOT NULL,
    label text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    this_update bigint NOT NULL,
    next_update bigint NOT NULL,
    entries bigint NOT NULL,
    der bytea NOT NULL,
    CONSTRAINT crl_pkey PRIMARY KEY (tenant_id, authority, label)
);

ALTER TABLE crl ENABLE ROW LEVEL SECURITY;

ALTER TABLE crl FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON crl USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE deny_list (
    tenant_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT deny_list_pkey PRIMARY KEY (tenant_id, kind, value)
);

ALTER TABLE deny_list ENABLE ROW LEVEL SECURITY;

ALTER TABLE deny_list FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON deny_list USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE deployment (
    tenant_id text COLLATE "C" NOT NULL,
    rollout text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    phase bigint NOT NULL,
    status text COLLATE "C" NOT NULL,
    step text COLLATE "C",
    hardware text COLLATE "C" NOT NULL,
    from_version text COLLATE "C",
    detail text COLLATE "C",
    version bigint NOT NULL,
    queued_at bigint NOT NULL,
    started_at bigint,
    updated_at bigint NOT NULL,
    finished_at bigint,
    CONSTRAINT deployment_pkey PRIMARY KEY (tenant_id, rollout, device, kind)
);

CREATE INDEX deployment_device ON public.deployment USING btree (tenant_id, device, rollout);

CREATE UNIQUE INDEX deployment_one_active ON public.deployment USING btree (tenant_id, device) WHERE (status = ANY (ARRAY['queued'::text, 'in_progress'::text]));

CREATE INDEX deployment_rollout ON public.deployment USING btree (tenant_id, rollout, status);

ALTER TABLE deployment ENABLE ROW LEVEL SECURITY;

ALTER TABLE deployment FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON deployment USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE device (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    class text COLLATE "C" NOT NULL,
    hardware text COLLATE "C" NOT NULL,
    firmware text COLLATE "C",
    status text COLLATE "C" NOT NULL,
    owner text COLLATE "C",
    environment text COLLATE "C",
    site text COLLATE "C",
    location text COLLATE "C",
    parent text COLLATE "C",
    endpoint text COLLATE "C",
    tags text COLLATE "C" NOT NULL,
    attributes text COLLATE "C" NOT NULL,
    certificate_serial text COLLATE "C",
    certificate_not_after bigint,
    heartbeat_s bigint,
    revision bigint NOT NULL,
    provisioned_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT device_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX device_updated ON public.device USING btree (tenant_id, updated_at, id);

ALTER TABLE device ENABLE ROW LEVEL SECURITY;

ALTER TABLE device FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON device USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE device_did (
    tenant_id text COLLATE "C" NOT NULL,
    did text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    public_key bytea NOT NULL,
    added_by text COLLATE "C" NOT NULL,
    added_at bigint NOT NULL,
    CONSTRAINT device_did_pkey PRIMARY KEY (tenant_id, did)
);

CREATE INDEX device_did_device ON public.device_did USING btree (tenant_id, device, did);

ALTER TABLE device_did ENABLE ROW LEVEL SECURITY;

ALTER TABLE device_did FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON device_did USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE device_group (
    tenant_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    description text COLLATE "C",
    attributes text COLLATE "C" NOT NULL,
    parent text COLLATE "C",
    revision bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    query text COLLATE "C",
    settled_at bigint,
    CONSTRAINT device_group_pkey PRIMARY KEY (tenant_id, name)
);

CREATE INDEX device_group_dynamic ON public.device_group USING btree (tenant_id, name) WHERE (query IS NOT NULL);

CREATE INDEX device_group_parent ON public.device_group USING btree (tenant_id, parent, name);

ALTER TABLE device_group ENABLE ROW LEVEL SECURITY;

ALTER TABLE device_group FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON device_group USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE device_presence (
    tenant_id text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    online bigint NOT NULL,
    last_seen bigint,
    connected_at bigint,
    disconnected_at bigint,
    reason text COLLATE "C",
    address text COLLATE "C",
    CONSTRAINT device_presence_pkey PRIMARY KEY (tenant_id, device)
) WITH (fillfactor=50);

ALTER TABLE device_presence ENABLE ROW LEVEL SECURITY;

ALTER TABLE device_presence FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON device_presence USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE device_type (
    tenant_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    description text COLLATE "C",
    searchable text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    deprecated_at bigint,
    CONSTRAINT device_type_pkey PRIMARY KEY (tenant_id, name)
);

ALTER TABLE device_type ENABLE ROW LEVEL SECURITY;

ALTER TABLE device_type FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON device_type USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE dps_registration (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    enrollment text COLLATE "C",
    serial text COLLATE "C",
    request bytea,
    payload text COLLATE "C",
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT dps_registration_pkey PRIMARY KEY (tenant_id, id)
);

ALTER TABLE dps_registration ENABLE ROW LEVEL SECURITY;

ALTER TABLE dps_registration FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON dps_registration USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE enroll_token (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    hash bytea NOT NULL,
    attempts bigint NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    used_at bigint,
    used_csr bytea,
    revoked_at bigint,
    kind text DEFAULT 'enroll'::text NOT NULL,
    CONSTRAINT enroll_token_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT enroll_token_hash_key UNIQUE (hash)
);

CREATE INDEX enroll_token_device ON public.enroll_token USING btree (tenant_id, device);

ALTER TABLE enroll_token ENABLE ROW LEVEL SECURITY;

ALTER TABLE enroll_token FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON enroll_token USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE enrollment (
    tenant_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    primary_key bytea NOT NULL,
    secondary_key bytea NOT NULL,
    class text COLLATE "C",
    hardware text COLLATE "C",
    payload text COLLATE "C",
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    rotated_at bigint,
    revoked_at bigint,
    revision bigint NOT NULL,
    CONSTRAINT enrollment_pkey PRIMARY KEY (tenant_id, kind, name)
);

ALTER TABLE enrollment ENABLE ROW LEVEL SECURITY;

ALTER TABLE enrollment FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON enrollment USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE enrollment_request (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    user_code text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    way text COLLATE "C" NOT NULL,
    key_fingerprint text COLLATE "C",
    facts text COLLATE "C" NOT NULL,
    address text COLLATE "C",
    state text COLLATE "C" NOT NULL,
    device_code bytea,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    decided_by text COLLATE "C",
    decided_at bigint,
    note text COLLATE "C",
    token text COLLATE "C",
    CONSTRAINT enrollment_request_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT enrollment_request_device_code_key UNIQUE (device_code)
);

CREATE INDEX enrollment_request_age ON public.enrollment_request USING btree (tenant_id, created_at, id);

CREATE UNIQUE INDEX enrollment_request_code ON public.enrollment_request USING btree (tenant_id, user_code);

CREATE INDEX enrollment_request_device ON public.enrollment_request USING btree (tenant_id, device);

ALTER TABLE enrollment_request ENABLE ROW LEVEL SECURITY;

ALTER TABLE enrollment_request FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON enrollment_request USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE factory_authority (
    tenant_id text NOT NULL,
    id text NOT NULL,
    name text NOT NULL,
    der bytea NOT NULL,
    mode text NOT NULL,
    template text,
    status text NOT NULL,
    not_after bigint NOT NULL,
    revision bigint NOT NULL,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    revoked_at bigint,
    CONSTRAINT factory_authority_pkey PRIMARY KEY (tenant_id, id)
);

ALTER TABLE factory_authority ENABLE ROW LEVEL SECURITY;

ALTER TABLE factory_authority FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON factory_authority USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE factory_certificate (
    tenant_id text NOT NULL,
    id text NOT NULL,
    authority text NOT NULL,
    name text NOT NULL,
    serial_number text,
    device text,
    der bytea NOT NULL,
    status text NOT NULL,
    address text,
    first_seen_at bigint NOT NULL,
    activated_at bigint,
    activated_by text,
    CONSTRAINT factory_certificate_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX factory_certificate_status ON public.factory_certificate USING btree (tenant_id, status, id);

ALTER TABLE factory_certificate ENABLE ROW LEVEL SECURITY;

ALTER TABLE factory_certificate FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON factory_certificate USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE id_scope (
    tenant_id text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT id_scope_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT id_scope_scope_key UNIQUE (scope)
);

ALTER TABLE id_scope ENABLE ROW LEVEL SECURITY;

ALTER TABLE id_scope FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON id_scope USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE idempotency (
    tenant_id text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    request_hash bytea NOT NULL,
    response bytea NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (tenant_id, principal, key)
);

CREATE INDEX idempotency_age ON public.idempotency USING btree (tenant_id, created_at);

ALTER TABLE idempotency ENABLE ROW LEVEL SECURITY;

ALTER TABLE idempotency FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON idempotency USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE installation (
    key text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    CONSTRAINT installation_pkey PRIMARY KEY (key)
);

CREATE TABLE inventory (
    tenant_id text COLLATE "C" NOT NULL,
    serial text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    class text COLLATE "C",
    hardware text COLLATE "C",
    ek_hash text COLLATE "C",
    batch text COLLATE "C",
    maker text COLLATE "C",
    root_of_trust text COLLATE "C",
    attestation text COLLATE "C",
    attested_by text COLLATE "C",
    imported_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT inventory_pkey PRIMARY KEY (tenant_id, serial)
);

CREATE INDEX inventory_batch ON public.inventory USING btree (tenant_id, batch, serial) WHERE (batch IS NOT NULL);

CREATE UNIQUE INDEX inventory_device ON public.inventory USING btree (tenant_id, device);

CREATE INDEX inventory_endorsement ON public.inventory USING btree (tenant_id, ek_hash) WHERE (ek_hash IS NOT NULL);

ALTER TABLE inventory ENABLE ROW LEVEL SECURITY;

ALTER TABLE inventory FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON inventory USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE issuer (
    tenant_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    config text COLLATE "C" NOT NULL,
    credential bytea NOT NULL,
    revision bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT issuer_pkey PRIMARY KEY (tenant_id)
);

ALTER TABLE issuer ENABLE ROW LEVEL SECURITY;

ALTER TABLE issuer FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON issuer USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE issuer_told (
    tenant_id text COLLATE "C" NOT NULL,
    serial text COLLATE "C" NOT NULL,
    told_at bigint NOT NULL,
    CONSTRAINT issuer_told_pkey PRIMARY KEY (tenant_id, serial)
);

ALTER TABLE issuer_told ENABLE ROW LEVEL SECURITY;

ALTER TABLE issuer_told FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON issuer_told USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE job (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    description text COLLATE "C",
    targets text COLLATE "C" NOT NULL,
    selection text COLLATE "C" NOT NULL,
    policy text COLLATE "C" NOT NULL,
    windowed bigint NOT NULL,
    state text COLLATE "C" NOT NULL,
    reason_code text COLLATE "C",
    comment text COLLATE "C",
    force bigint NOT NULL,
    rollout_over bigint NOT NULL,
    cursor_target bigint NOT NULL,
    cursor_device text COLLATE "C" NOT NULL,
    pace text COLLATE "C" NOT NULL,
    handed bigint NOT NULL,
    window_open bigint NOT NULL,
    look_at bigint,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    started_at bigint,
    completed_at bigint,
    revision bigint NOT NULL,
    document text COLLATE "C" NOT NULL,
    CONSTRAINT job_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX job_due ON public.job USING btree (look_at) WHERE (look_at IS NOT NULL);

CREATE INDEX job_open ON public.job USING btree (tenant_id, id) WHERE (completed_at IS NULL);

CREATE INDEX job_over ON public.job USING btree (tenant_id, completed_at, id) WHERE (completed_at IS NOT NULL);

ALTER TABLE job ENABLE ROW LEVEL SECURITY;

ALTER TABLE job FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON job USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE job_execution (
    tenant_id text COLLATE "C" NOT NULL,
    job text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    latest bigint NOT NULL,
    status text COLLATE "C" NOT NULL,
    detail text COLLATE "C",
    version bigint NOT NULL,
    failed_before bigint NOT NULL,
    timed_out_before bigint NOT NULL,
    queued_at bigint NOT NULL,
    started_at bigint,
    updated_at bigint NOT NULL,
    finished_at bigint,
    timeout_at bigint,
    step_timeout_at bigint,
    due_at bigint,
    CONSTRAINT job_execution_pkey PRIMARY KEY (tenant_id, job, device, number)
);

CREATE INDEX job_execution_device ON public.job_execution USING btree (tenant_id, device, job, number);

CREATE INDEX job_execution_due ON public.job_execution USING btree (due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX job_execution_earlier ON public.job_execution USING btree (tenant_id, finished_at) WHERE (latest = 0);

CREATE UNIQUE INDEX job_execution_latest ON public.job_execution USING btree (tenant_id, job, device) WHERE (latest = 1);

CREATE INDEX job_execution_pending ON public.job_execution USING btree (tenant_id, device, queued_at) WHERE (status = ANY (ARRAY['queued'::text, 'in_progress'::text]));

CREATE INDEX job_execution_standing ON public.job_execution USING btree (tenant_id, job, status, device) WHERE (latest = 1);

ALTER TABLE job_execution ENABLE ROW LEVEL SECURITY;

ALTER TABLE job_execution FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON job_execution USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE journal (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    actor_kind text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    device text COLLATE "C",
    subject text COLLATE "C",
    outcome text COLLATE "C" NOT NULL,
    severity text COLLATE "C" NOT NULL,
    detail text COLLATE "C" NOT NULL,
    request_id text COLLATE "C",
    seq bigint,
    chain bytea,
    xid bigint DEFAULT ((pg_current_xact_id())::text)::bigint NOT NULL,
    CONSTRAINT journal_pkey PRIMARY KEY (id)
);

CREATE INDEX journal_device ON public.journal USING btree (tenant_id, device, id) WHERE (device IS NOT NULL);

CREATE INDEX journal_ends ON public.journal USING btree (xid, id) WHERE (action = ANY (ARRAY['attestation.overdue'::text, 'attestation.verdict'::text, 'ca.revoked'::text, 'certificate.forgotten'::text, 'certificate.retired'::text, 'certificate.revoked'::text, 'claim.revoked'::text, 'deny_list.changed'::text, 'device.decommissioned'::text, 'device.revoked'::text, 'device.status_changed'::text, 'device.transferred'::text, 'device.updated'::text, 'factory_authority.revoked'::text]));

CREATE UNIQUE INDEX journal_sealed ON public.journal USING btree (tenant_id, seq) WHERE (seq IS NOT NULL);

CREATE INDEX journal_tail ON public.journal USING btree (tenant_id, xid, id);

CREATE INDEX journal_tenant ON public.journal USING btree (tenant_id, id);

CREATE INDEX journal_unsealed ON public.journal USING btree (tenant_id, id) WHERE (seq IS NULL);

CREATE INDEX journal_waited ON public.journal USING btree (tenant_id, subject) WHERE (action = 'certificate.pending'::text);

ALTER TABLE journal ENABLE ROW LEVEL SECURITY;

ALTER TABLE journal FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON journal USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE label_set (
    tenant_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    labels text COLLATE "C" NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT label_set_pkey PRIMARY KEY (tenant_id, kind, name)
);

ALTER TABLE label_set ENABLE ROW LEVEL SECURITY;

ALTER TABLE label_set FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON label_set USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE maker (
    tenant_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    public_key bytea NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT maker_pkey PRIMARY KEY (tenant_id, name)
);

ALTER TABLE maker ENABLE ROW LEVEL SECURITY;

ALTER TABLE maker FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON maker USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE mqtt_queue (
    tenant_id text COLLATE "C" NOT NULL,
    client text COLLATE "C" NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    messages bytea NOT NULL,
    CONSTRAINT mqtt_queue_pkey PRIMARY KEY (tenant_id, client, first_seq)
);

ALTER TABLE mqtt_queue ENABLE ROW LEVEL SECURITY;

ALTER TABLE mqtt_queue FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON mqtt_queue USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE mqtt_retained (
    tenant_id text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    payload bytea NOT NULL,
    qos bigint NOT NULL,
    properties bytea,
    stored_at bigint NOT NULL,
    CONSTRAINT mqtt_retained_pkey PRIMARY KEY (tenant_id, topic)
);

ALTER TABLE mqtt_retained ENABLE ROW LEVEL SECURITY;

ALTER TABLE mqtt_retained FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON mqtt_retained USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE mqtt_session (
    tenant_id text COLLATE "C" NOT NULL,
    client text COLLATE "C" NOT NULL,
    expiry_s bigint NOT NULL,
    disconnected_at bigint,
    acked_seq bigint NOT NULL,
    protocol bigint NOT NULL,
    created_at bigint NOT NULL,
    exchanges bytea,
    CONSTRAINT mqtt_session_pkey PRIMARY KEY (tenant_id, client)
);

ALTER TABLE mqtt_session ENABLE ROW LEVEL SECURITY;

ALTER TABLE mqtt_session FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON mqtt_session USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE mqtt_subscription (
    tenant_id text COLLATE "C" NOT NULL,
    client text COLLATE "C" NOT NULL,
    filter text COLLATE "C" NOT NULL,
    qos bigint NOT NULL,
    options bigint NOT NULL,
    identifier bigint DEFAULT 0 NOT NULL,
    CONSTRAINT mqtt_subscription_pkey PRIMARY KEY (tenant_id, client, filter)
);

ALTER TABLE mqtt_subscription ENABLE ROW LEVEL SECURITY;

ALTER TABLE mqtt_subscription FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON mqtt_subscription USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE mqtt_will (
    tenant_id text COLLATE "C" NOT NULL,
    client text COLLATE "C" NOT NULL,
    will bytea NOT NULL,
    server text COLLATE "C" DEFAULT ''::text NOT NULL,
    CONSTRAINT mqtt_will_pkey PRIMARY KEY (tenant_id, client)
);

ALTER TABLE mqtt_will ENABLE ROW LEVEL SECURITY;

ALTER TABLE mqtt_will FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON mqtt_will USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE ocsp_responder (
    tenant_id text COLLATE "C" NOT NULL,
    authority text COLLATE "C" NOT NULL,
    der bytea NOT NULL,
    key_purpose text COLLATE "C" NOT NULL,
    renew_at bigint NOT NULL,
    CONSTRAINT ocsp_responder_pkey PRIMARY KEY (tenant_id, authority)
);

ALTER TABLE ocsp_responder ENABLE ROW LEVEL SECURITY;

ALTER TABLE ocsp_responder FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON ocsp_responder USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE other_certificate (
    tenant_id text COLLATE "C" NOT NULL,
    serial text COLLATE "C" NOT NULL,
    authority text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    der bytea NOT NULL,
    issued_at bigint NOT NULL,
    not_after bigint NOT NULL,
    revoked_at bigint,
    reason text COLLATE "C",
    crl_pending bigint DEFAULT 0 NOT NULL,
    log_index bigint,
    CONSTRAINT other_certificate_pkey PRIMARY KEY (tenant_id, serial)
);

CREATE INDEX other_certificate_authority ON public.other_certificate USING btree (tenant_id, authority);

CREATE UNIQUE INDEX other_certificate_logged ON public.other_certificate USING btree (tenant_id, log_index) WHERE (log_index IS NOT NULL);

CREATE INDEX other_certificate_pending ON public.other_certificate USING btree (tenant_id, serial) WHERE (crl_pending = 1);

CREATE INDEX other_certificate_revoked_tail ON public.other_certificate USING btree (tenant_id, authority, "right"(serial, 2)) WHERE (revoked_at IS NOT NULL);

CREATE INDEX other_certificate_unlogged ON public.other_certificate USING btree (tenant_id, issued_at, serial) WHERE (log_index IS NULL);

ALTER TABLE other_certificate ENABLE ROW LEVEL SECURITY;

ALTER TABLE other_certificate FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON other_certificate USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE pending_certificate (
    tenant_id text NOT NULL,
    id text NOT NULL,
    token bytea NOT NULL,
    claim text NOT NULL,
    connection text NOT NULL,
    serial text NOT NULL,
    authority text NOT NULL,
    request bytea NOT NULL,
    not_before bigint NOT NULL,
    not_after bigint NOT NULL,
    der bytea NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    CONSTRAINT pending_certificate_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX pending_certificate_claim ON public.pending_certificate USING btree (tenant_id, claim, expires_at);

CREATE UNIQUE INDEX pending_certificate_token ON public.pending_certificate USING btree (tenant_id, token);

ALTER TABLE pending_certificate ENABLE ROW LEVEL SECURITY;

ALTER TABLE pending_certificate FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON pending_certificate USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE policy_source (
    tenant_id text COLLATE "C" NOT NULL,
    policy text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    source text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT policy_source_pkey PRIMARY KEY (tenant_id, policy, version)
);

ALTER TABLE policy_source ENABLE ROW LEVEL SECURITY;

ALTER TABLE policy_source FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON policy_source USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE provisioning_template (
    tenant_id text NOT NULL,
    name text NOT NULL,
    body text NOT NULL,
    hook_url text,
    hook_secret bytea,
    hook_ca text,
    enabled bigint NOT NULL,
    revision bigint NOT NULL,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT provisioning_template_pkey PRIMARY KEY (tenant_id, name)
);

ALTER TABLE provisioning_template ENABLE ROW LEVEL SECURITY;

ALTER TABLE provisioning_template FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON provisioning_template USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE registration_code (
    tenant_id text NOT NULL,
    code text NOT NULL,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    CONSTRAINT registration_code_pkey PRIMARY KEY (tenant_id, code)
);

ALTER TABLE registration_code ENABLE ROW LEVEL SECURITY;

ALTER TABLE registration_code FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON registration_code USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE release (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    signer text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    manifest bytea NOT NULL,
    signature bytea NOT NULL,
    created_at bigint NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT release_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT release_tenant_id_name_version_key UNIQUE (tenant_id, name, version)
);

ALTER TABLE release ENABLE ROW LEVEL SECURITY;

ALTER TABLE release FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON release USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE renewal_request (
    tenant_id text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    reason text NOT NULL,
    at_once bigint NOT NULL,
    asked_by text NOT NULL,
    asked_at bigint NOT NULL,
    CONSTRAINT renewal_request_pkey PRIMARY KEY (tenant_id, device)
);

ALTER TABLE renewal_request ENABLE ROW LEVEL SECURITY;

ALTER TABLE renewal_request FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON renewal_request USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE revocation (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    total bigint NOT NULL,
    done bigint NOT NULL,
    certificates bigint NOT NULL,
    cursor text COLLATE "C" NOT NULL,
    due_at bigint,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    finished_at bigint,
    CONSTRAINT revocation_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX revocation_open ON public.revocation USING btree (tenant_id, id) WHERE (finished_at IS NULL);

ALTER TABLE revocation ENABLE ROW LEVEL SECURITY;

ALTER TABLE revocation FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON revocation USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE rollout (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    release text COLLATE "C" NOT NULL,
    selector text COLLATE "C" NOT NULL,
    policy text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    phase bigint NOT NULL,
    phase_started_at bigint,
    gate_met_at bigint,
    pause_reason text COLLATE "C",
    target_count bigint NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT rollout_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX rollout_due ON public.rollout USING btree (tenant_id, id) WHERE (state = ANY (ARRAY['running'::text, 'rolling_back'::text]));

ALTER TABLE rollout ENABLE ROW LEVEL SECURITY;

ALTER TABLE rollout FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON rollout USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE rotation (
    tenant_id text COLLATE "C" NOT NULL,
    serial text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    deadline bigint,
    sessions bigint NOT NULL,
    session_at bigint,
    told bigint,
    alert_at bigint,
    CONSTRAINT rotation_pkey PRIMARY KEY (tenant_id, serial)
);

CREATE INDEX rotation_alert ON public.rotation USING btree (tenant_id, alert_at) WHERE (alert_at IS NOT NULL);

CREATE INDEX rotation_due ON public.rotation USING btree (tenant_id, deadline) WHERE (deadline IS NOT NULL);

ALTER TABLE rotation ENABLE ROW LEVEL SECURITY;

ALTER TABLE rotation FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON rotation USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE rotation_campaign (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    renewal text NOT NULL,
    selector text NOT NULL,
    policy text NOT NULL,
    state text NOT NULL,
    phase bigint NOT NULL,
    phase_started_at bigint,
    gate_met_at bigint,
    pause_reason text,
    target_count bigint NOT NULL,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT rotation_campaign_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX rotation_campaign_due ON public.rotation_campaign USING btree (tenant_id, id) WHERE (state = 'running'::text);

ALTER TABLE rotation_campaign ENABLE ROW LEVEL SECURITY;

ALTER TABLE rotation_campaign FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON rotation_campaign USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE rotation_member (
    tenant_id text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    phase bigint NOT NULL,
    hardware text NOT NULL,
    status text NOT NULL,
    queued_at bigint NOT NULL,
    asked_at bigint,
    finished_at bigint,
    CONSTRAINT rotation_member_pkey PRIMARY KEY (tenant_id, campaign, device)
);

CREATE INDEX rotation_member_open ON public.rotation_member USING btree (tenant_id, campaign, status);

ALTER TABLE rotation_member ENABLE ROW LEVEL SECURITY;

ALTER TABLE rotation_member FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON rotation_member USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE scep_transaction (
    tenant_id text NOT NULL,
    id text NOT NULL,
    device text NOT NULL,
    request bytea NOT NULL,
    asker bytea NOT NULL,
    waiting bytea,
    created_at bigint NOT NULL,
    CONSTRAINT scep_transaction_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX scep_transaction_age ON public.scep_transaction USING btree (tenant_id, created_at);

ALTER TABLE scep_transaction ENABLE ROW LEVEL SECURITY;

ALTER TABLE scep_transaction FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON scep_transaction USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE sealed_key (
    tenant_id text COLLATE "C" NOT NULL,
    purpose text COLLATE "C" NOT NULL,
    sealed bytea NOT NULL,
    public bytea NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT sealed_key_pkey PRIMARY KEY (tenant_id, purpose)
);

ALTER TABLE sealed_key ENABLE ROW LEVEL SECURITY;

ALTER TABLE sealed_key FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON sealed_key USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE server (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    beat bigint NOT NULL,
    CONSTRAINT server_pkey PRIMARY KEY (tenant_id, id)
);

ALTER TABLE server ENABLE ROW LEVEL SECURITY;

ALTER TABLE server FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON server USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE shadow (
    tenant_id text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    document text COLLATE "C" NOT NULL,
    metadata text COLLATE "C" NOT NULL,
    deleted_at bigint,
    updated_at bigint NOT NULL,
    changes bigint DEFAULT 0 NOT NULL,
    watch text COLLATE "C",
    CONSTRAINT shadow_pkey PRIMARY KEY (tenant_id, device, name)
) WITH (fillfactor=60);

CREATE INDEX shadow_config ON public.shadow USING btree (tenant_id, device) WHERE (name = 'config'::text);

ALTER TABLE shadow ENABLE ROW LEVEL SECURITY;

ALTER TABLE shadow FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON shadow USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE shadow_event (
    tenant_id text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    version bigint NOT NULL,
    at bigint NOT NULL,
    actor_kind text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    patch text COLLATE "C" NOT NULL,
    CONSTRAINT shadow_event_pkey PRIMARY KEY (tenant_id, device, name, number)
);

ALTER TABLE shadow_event ENABLE ROW LEVEL SECURITY;

ALTER TABLE shadow_event FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON shadow_event USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE signer (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    public_key bytea NOT NULL,
    created_at bigint NOT NULL,
    revoked_at bigint,
    revision bigint NOT NULL,
    CONSTRAINT signer_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT signer_tenant_id_key_id_key UNIQUE (tenant_id, key_id)
);

ALTER TABLE signer ENABLE ROW LEVEL SECURITY;

ALTER TABLE signer FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON signer USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE tenant (
    tenant_id text COLLATE "C" NOT NULL,
    display_name text COLLATE "C" NOT NULL,
    settings text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT tenant_pkey PRIMARY KEY (tenant_id)
);

ALTER TABLE tenant ENABLE ROW LEVEL SECURITY;

ALTER TABLE tenant FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON tenant USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE token_issuer (
    tenant_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    rules text COLLATE "C" NOT NULL,
    jwks text COLLATE "C",
    jwks_url text COLLATE "C",
    anchors text COLLATE "C",
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    disabled_at bigint,
    CONSTRAINT token_issuer_pkey PRIMARY KEY (tenant_id, name),
    CONSTRAINT token_issuer_tenant_id_issuer_key UNIQUE (tenant_id, issuer)
);

ALTER TABLE token_issuer ENABLE ROW LEVEL SECURITY;

ALTER TABLE token_issuer FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON token_issuer USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE token_use (
    tenant_id text COLLATE "C" NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    request bytea NOT NULL,
    expires_at bigint NOT NULL,
    CONSTRAINT token_use_pkey PRIMARY KEY (tenant_id, issuer, id)
);

CREATE INDEX token_use_end ON public.token_use USING btree (tenant_id, expires_at);

ALTER TABLE token_use ENABLE ROW LEVEL SECURITY;

ALTER TABLE token_use FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON token_use USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE topic_policy (
    tenant_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    description text COLLATE "C",
    default_version bigint NOT NULL,
    latest_version bigint NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    rules bigint DEFAULT 0 NOT NULL,
    pattern_bytes bigint DEFAULT 0 NOT NULL,
    CONSTRAINT topic_policy_pkey PRIMARY KEY (tenant_id, name)
);

ALTER TABLE topic_policy ENABLE ROW LEVEL SECURITY;

ALTER TABLE topic_policy FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON topic_policy USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE topic_policy_attachment (
    tenant_id text COLLATE "C" NOT NULL,
    policy text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    attached_by text COLLATE "C" NOT NULL,
    attached_at bigint NOT NULL,
    CONSTRAINT topic_policy_attachment_pkey PRIMARY KEY (tenant_id, policy, kind, target)
);

CREATE INDEX topic_policy_attachment_target ON public.topic_policy_attachment USING btree (tenant_id, kind, target);

ALTER TABLE topic_policy_attachment ENABLE ROW LEVEL SECURITY;

ALTER TABLE topic_policy_attachment FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON topic_policy_attachment USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE topic_policy_change (
    tenant_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    CONSTRAINT topic_policy_change_pkey PRIMARY KEY (tenant_id)
);

ALTER TABLE topic_policy_change ENABLE ROW LEVEL SECURITY;

ALTER TABLE topic_policy_change FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON topic_policy_change USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE topic_policy_version (
    tenant_id text COLLATE "C" NOT NULL,
    policy text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    document text COLLATE "C" NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT topic_policy_version_pkey PRIMARY KEY (tenant_id, policy, version)
);

ALTER TABLE topic_policy_version ENABLE ROW LEVEL SECURITY;

ALTER TABLE topic_policy_version FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON topic_policy_version USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE transfer (
    tenant_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    to_tenant text COLLATE "C" NOT NULL,
    hash bytea NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    accepted_at bigint,
    canceled_at bigint,
    to_device text COLLATE "C",
    wipe text COLLATE "C",
    wipe_by bigint,
    told_at bigint,
    overdue_at bigint,
    completed_at bigint,
    wiped text COLLATE "C",
    token text COLLATE "C",
    CONSTRAINT transfer_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT transfer_hash_key UNIQUE (hash)
);

CREATE INDEX transfer_device ON public.transfer USING btree (tenant_id, device);

CREATE INDEX transfer_wiping ON public.transfer USING btree (tenant_id, wipe_by) WHERE ((accepted_at IS NOT NULL) AND (completed_at IS NULL) AND (canceled_at IS NULL));

ALTER TABLE transfer ENABLE ROW LEVEL SECURITY;

ALTER TABLE transfer FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON transfer USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE transparency_log (
    tenant_id text COLLATE "C" NOT NULL,
    size bigint NOT NULL,
    root bytea NOT NULL,
    checkpoint text COLLATE "C" NOT NULL,
    signed_at bigint NOT NULL,
    CONSTRAINT transparency_log_pkey PRIMARY KEY (tenant_id)
);

ALTER TABLE transparency_log ENABLE ROW LEVEL SECURITY;

ALTER TABLE transparency_log FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON transparency_log USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE transparency_tile (
    tenant_id text COLLATE "C" NOT NULL,
    level bigint NOT NULL,
    place bigint NOT NULL,
    hashes bytea NOT NULL,
    CONSTRAINT transparency_tile_pkey PRIMARY KEY (tenant_id, level, place)
);

ALTER TABLE transparency_tile ENABLE ROW LEVEL SECURITY;

ALTER TABLE transparency_tile FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON transparency_tile USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE vault_epoch (
    tenant_id text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    CONSTRAINT vault_epoch_pkey PRIMARY KEY (tenant_id)
);

ALTER TABLE vault_epoch ENABLE ROW LEVEL SECURITY;

ALTER TABLE vault_epoch FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON vault_epoch USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE vault_hold (
    tenant_id text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    held_by text COLLATE "C" NOT NULL,
    held_at bigint NOT NULL,
    CONSTRAINT vault_hold_pkey PRIMARY KEY (tenant_id)
);

ALTER TABLE vault_hold ENABLE ROW LEVEL SECURITY;

ALTER TABLE vault_hold FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON vault_hold USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE vault_key (
    tenant_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    wrapped bytea NOT NULL,
    wrapped_by text COLLATE "C" NOT NULL,
    active bigint NOT NULL,
    created_at bigint NOT NULL,
    retired_at bigint,
    CONSTRAINT vault_key_pkey PRIMARY KEY (tenant_id, kind, version)
);

ALTER TABLE vault_key ENABLE ROW LEVEL SECURITY;

ALTER TABLE vault_key FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON vault_key USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));

CREATE TABLE vouched_key (
    tenant_id text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    pending text COLLATE "C",
    key text COLLATE "C",
    identity text COLLATE "C",
    until bigint,
    updated_at bigint NOT NULL,
    CONSTRAINT vouched_key_pkey PRIMARY KEY (tenant_id, device)
);

CREATE INDEX vouched_key_age ON public.vouched_key USING btree (tenant_id, updated_at);

ALTER TABLE vouched_key ENABLE ROW LEVEL SECURITY;

ALTER TABLE vouched_key FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON vouched_key USING ((tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text)) OR (current_setting('app.tenant'::text, true) = '*'::text) OR ((tenant_id = ''::text) AND (current_setting('app.tenant'::text, true) = '@'::text)));
