-- Lists are made of what is revoked and ends in two digits, as of the certificates of devices.
CREATE INDEX other_certificate_revoked_tail ON other_certificate (tenant_id, authority, right(serial, 2))
    WHERE revoked_at IS NOT NULL;
