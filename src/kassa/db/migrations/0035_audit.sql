-- The audit log: every act that matters to safety, chained by hashes and only ever added.

create table acts (
    -- Counts every act of this installation without gaps; what is cut off at the end is missed by the anchor on disk.
    number bigint primary key,
    id text not null,
    at timestamptz not null,
    -- Null: it concerns the installation.
    store_id text references stores,
    actor text not null,
    -- From where, as far as known.
    address text,
    kind text not null,
    subject text not null,
    -- JSON texts, kept as they were hashed.
    before text,
    after text,
    -- sha256(hash of the act before, as 32 bytes; then the act as `audit.rules.body` writes it)
    hash bytea not null,
    constraint acts_id unique (id)
);
create index acts_store on acts (store_id, number desc);

create function refuse_act_change() returns trigger language plpgsql as $$
begin
    raise exception 'the audit log is append-only';
end $$;
create trigger acts_append_only before update or delete on acts for each row execute function refuse_act_change();
create trigger acts_no_truncate before truncate on acts execute function refuse_act_change();
