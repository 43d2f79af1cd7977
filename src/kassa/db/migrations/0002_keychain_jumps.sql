-- Every time a counter was moved past addresses that an earlier life of the database may have issued: the audit of a
-- restored backup.

create table keychain_jumps (
    id bigint generated always as identity primary key,
    keychain_id bigint not null references keychains,
    from_index bigint not null,
    to_index bigint not null check (to_index > from_index),
    reason text not null,
    jumped_at timestamptz not null default now()
);
