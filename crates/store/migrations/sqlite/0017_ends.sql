-- All that ends sessions, as the look for it says it: an authority that was revoked too.
DROP INDEX journal_ends;

CREATE INDEX journal_ends ON journal (id) WHERE action IN ('attestation.overdue', 'attestation.verdict', 'ca.revoked',
    'certificate.forgotten', 'certificate.retired', 'certificate.revoked', 'claim.revoked', 'deny_list.changed',
    'device.decommissioned', 'device.revoked', 'device.status_changed', 'device.transferred', 'factory_authority.revoked');
