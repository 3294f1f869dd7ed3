-- How each certificate came to be asked for. Before this there were enrolment tokens and renewals, which were not told apart.

ALTER TABLE certificate ADD COLUMN way TEXT NOT NULL DEFAULT 'token';

ALTER TABLE certificate ADD COLUMN source TEXT;
