-- Two questions that came to be asked.

-- Whether a certificate was ever issued to a claim, also after it was forgotten: one that nobody owned is told from one that
-- nobody issued.
CREATE INDEX journal_waited ON journal (tenant_id, subject) WHERE action = 'certificate.pending';

-- Whose TPM has this endorsement key, by the manufacturing database.
CREATE INDEX inventory_endorsement ON inventory (tenant_id, ek_hash) WHERE ek_hash IS NOT NULL;
