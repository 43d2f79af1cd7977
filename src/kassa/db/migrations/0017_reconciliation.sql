-- Reconciliation: when each network's books were last compared with its node, and which differences are open.

create table reconciliations (
    network text primary key references networks,
    begun_at timestamptz not null,
    -- Of the last run that came to an end.
    ended_at timestamptz,
    height bigint,
    hash text,
    differences integer
);

create table differences (
    id bigint generated always as identity primary key,
    network text not null references networks,
    -- Null: entries on the network's account that lead to no address.
    address_id text references addresses,
    asset text not null,
    booked numeric(156,0) not null,
    found numeric(156,0) not null,
    height bigint not null,
    hash text not null,
    opened_at timestamptz not null,
    closed_at timestamptz
);
create unique index differences_open on differences (network, coalesce(address_id, ''), asset) where closed_at is null;
