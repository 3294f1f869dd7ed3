-- Which of a device's keys its hardware vouched for: SHA-256 of its SubjectPublicKeyInfo.
ALTER TABLE attestation ADD COLUMN certified_key BYTEA;
