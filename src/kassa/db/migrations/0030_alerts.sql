-- Alerts: what is wrong, or was, with what was done about it by itself and what people decided. One is open per cause.

create table alerts (
    id text primary key,
    -- The cause: what kind of thing, and which of them.
    kind text not null,
    subject text not null,
    severity text not null check (severity in ('info', 'warning', 'critical')),
    -- Whose it is: a store's; of a network, then of every store with a wallet there; of neither, then the operator's.
    store_id text references stores,
    network text,
    reason text not null,
    -- What only the operator reads: it may name nodes and paths.
    detail text not null default '',
    -- What it is about, as JSON: ids, assets, amounts.
    about json not null default '{}',
    -- What was done by itself, as JSON.
    actions json not null default '[]',
    -- How much of it there is, where that can grow: a finding above it is news even after a person closed the alert.
    measure bigint not null default 0,
    opened_at timestamptz not null,
    acknowledged_at timestamptz,
    -- When what raised it was last looked for and not there any more.
    over_at timestamptz,
    closed_at timestamptz,
    closed_by text,
    ended text,
    undone_at timestamptz,
    check ((closed_at is null) = (closed_by is null))
);
create unique index alerts_open on alerts (kind, subject) where closed_at is null;
create index alerts_store on alerts (store_id, id desc) where store_id is not null;
create index alerts_network on alerts (network, id desc) where store_id is null;
-- Closed by a person while it was still so: not opened again until it is over, or grows.
create index alerts_muted on alerts (kind, subject) where closed_at is not null and over_at is null;

-- What a person decided about an alert. Only added.
create table alert_decisions (
    id bigint generated always as identity primary key,
    alert_id text not null references alerts,
    decision text not null check (decision in ('acknowledged', 'closed', 'undone')),
    decided_at timestamptz not null,
    decided_by text not null,
    note text not null
);
create index alert_decisions_alert on alert_decisions (alert_id);
create trigger alert_decisions_append_only before update or delete on alert_decisions
    for each row execute function refuse_change();
create trigger alert_decisions_no_truncate before truncate on alert_decisions execute function refuse_change();
