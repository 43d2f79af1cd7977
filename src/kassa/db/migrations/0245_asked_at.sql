-- When a passkey was asked for: an answer counts for some minutes, however long the session lasts.
alter table sessions add column asked_at timestamptz;
