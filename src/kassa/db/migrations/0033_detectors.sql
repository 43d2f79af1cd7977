-- What detectors look at, where it was not kept before.

-- Every reorganisation that we followed: how many blocks were undone.
create table reorganisations (
    id bigint generated always as identity primary key,
    network text not null,
    at timestamptz not null,
    depth integer not null check (depth > 0),
    -- The lowest height that has another block since.
    height bigint not null
);
create index reorganisations_at on reorganisations (network, at);

-- Transfers of nothing to our addresses, by hour: they are no payments, but somebody sends them.
create table empty_transfers (
    network text not null,
    hour timestamptz not null,
    count bigint not null,
    primary key (network, hour)
);

alter table detectors
    -- When a process last set out to run it.
    add column enlisted_at timestamptz;

alter table networks
    -- The node answers, and is not a node of this network.
    add column node_refused boolean not null default false;

create index payments_reversed on payments (id) where status = 'reversed';
