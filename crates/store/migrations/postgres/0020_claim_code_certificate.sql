-- A used code lets one certificate of a factory in. Of those used before, each stands for the certificate that has its name.
ALTER TABLE claim_code ADD COLUMN certificate TEXT;

SELECT set_config('app.tenant', '*', true);

UPDATE claim_code SET certificate = (
    SELECT MIN(seen.id) FROM factory_certificate seen
    WHERE seen.tenant_id = claim_code.tenant_id AND seen.status = 'active'
      AND CASE WHEN claim_code.subject_kind = 'device' THEN seen.name ELSE seen.serial_number END = claim_code.subject
) WHERE used_at IS NOT NULL;
