-- What ended before its time is revoked for everybody who reads a list: also what its successor retired.
DROP INDEX certificate_authority;

CREATE INDEX certificate_authority ON certificate (tenant_id, authority)
    WHERE status NOT IN ('pending', 'retired', 'revoked');

DROP INDEX certificate_revoked;

CREATE INDEX certificate_revoked ON certificate (tenant_id, authority) WHERE status IN ('retired', 'revoked');

DROP INDEX certificate_revoked_tail;

CREATE INDEX certificate_revoked_tail ON certificate (tenant_id, authority, substr(serial, -2))
    WHERE status IN ('retired', 'revoked');

UPDATE certificate SET crl_pending = 1 WHERE status = 'retired';
