-- What each machine last told of the volumes that Kassa writes to there.
create table disks (
    host text not null,
    folder text not null,
    free_bytes bigint not null,
    size_bytes bigint not null,
    seen_at timestamptz not null,
    primary key (host, folder)
);

-- Where a backup was written, and what it left there. Null for those that an earlier version made.
alter table backups add column host text, add column folder text, add column free_bytes bigint;
