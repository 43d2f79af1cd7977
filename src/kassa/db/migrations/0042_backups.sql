-- When backups were made, and when the database became one again: what is sent until every network was caught up with
-- afterwards may have been sent before.

create table backups (
    made_at timestamptz primary key,
    bytes bigint not null,
    sha256 text not null
);

create table restores (
    restored_at timestamptz primary key,
    backup_at timestamptz not null,
    caught_up_at timestamptz
);
