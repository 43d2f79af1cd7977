-- What is held back by itself, from an alert's opening to its end or a person's word: facts that every decision about a
-- payment sees. Made once and lifted once, never changed.

create table restraints (
    id bigint generated always as identity primary key,
    alert_id text not null references alerts,
    -- held: nothing settles, nobody is asked to pay, nothing expires. unoffered: nobody is asked to pay. raised: what is not
    -- settled yet needs that many blocks at least.
    kind text not null check (kind in ('held', 'unoffered', 'raised')),
    network text not null,
    -- Null: the whole network.
    asset text,
    -- Null: every store.
    store_id text references stores,
    blocks integer not null default 0 check ((kind = 'raised') = (blocks > 0)),
    made_at timestamptz not null,
    lifted_at timestamptz
);
create index restraints_in_force on restraints (network) where lifted_at is null;
create index restraints_alert on restraints (alert_id) where lifted_at is null;

alter table alerts
    -- Stays open when it is over, until a person ends it.
    add column lasting boolean not null default false;
