-- A wallet is replaced by another in two steps and after a delay; the old one keeps its addresses and issues no more.

alter table wallets add column retired_at timestamptz;
alter table wallets drop constraint wallets_network;
create unique index wallets_network on wallets (store_id, network) where retired_at is null;

create table wallet_changes (
    id text primary key,
    store_id text not null references stores,
    wallet_id text not null references wallets,
    network text not null,
    space text not null,
    descriptor text not null,
    fingerprint text not null,
    asked_at timestamptz not null,
    asked_by text not null,
    confirmed_at timestamptz,
    confirmed_by text,
    due_at timestamptz,
    ended_at timestamptz,
    ended_as text check (ended_as in ('applied', 'cancelled')),
    -- Made when it was asked for and when it was confirmed: what is only in the database is not applied.
    asked_seal bytea not null,
    confirmed_seal bytea
);
create unique index wallet_changes_open on wallet_changes (wallet_id) where ended_at is null;
create index wallet_changes_store on wallet_changes (store_id, id desc);
create index wallet_changes_due on wallet_changes (due_at) where ended_at is null and due_at is not null;
