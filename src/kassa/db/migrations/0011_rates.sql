-- Live rates: what each source said and when, which alarms are open, and how the rate of an option came about.

alter table stores
    -- How much lower than the market's the rates of its invoices are, in parts per million: the payer owes more units.
    add column spread_ppm integer not null default 0 check (spread_ppm between 0 and 500000);

alter table payment_options
    -- How the rate came about, with everything that went into it: complete also after its quotes were thinned out. Kept as
    -- it was written.
    add column rate_method json not null default '{}';

alter table payments
    add column late_rate_at timestamptz,
    add column late_rate_method json;

-- One answer of one source about one pair. Only added; old ones are deleted by age. `at` is the source's own time where
-- it tells one, `fetched_at` ours.
create table rate_quotes (
    id bigint generated always as identity primary key,
    base text not null,
    quote text not null,
    source text not null,
    bid numeric check (bid > 0 and bid < 'Infinity'),
    ask numeric check (ask > 0 and ask < 'Infinity'),
    price numeric not null check (price > 0 and price < 'Infinity'),
    at timestamptz not null,
    fetched_at timestamptz not null,
    constraint rate_quotes_not_crossed check (bid <= ask)
);
create index rate_quotes_newest on rate_quotes (base, quote, source, fetched_at desc, id desc);
create index rate_quotes_history on rate_quotes (base, quote, id desc);
create index rate_quotes_fetched_at on rate_quotes (fetched_at);

create function refuse_rewriting() returns trigger language plpgsql as $$
begin
    raise exception '% is never rewritten', tg_table_name;
end $$;
create trigger rate_quotes_never_rewritten before update on rate_quotes for each row execute function refuse_rewriting();

-- Who asks the sources: one process, by a lease like a network's. The one row is there from the start, to be locked.
create table rate_fetching (
    id boolean primary key default true check (id),
    fence bigint not null default 0,
    holder text,
    lease_until timestamptz
);
insert into rate_fetching default values;

-- What an operator should know about rates: opened once, closed when it is over. '' where no source or pair is meant.
create table rate_alarms (
    id bigint generated always as identity primary key,
    kind text not null check (kind in ('source_failed', 'answer_refused', 'quote_dropped', 'rate_ageing', 'no_rate')),
    source text not null,
    pair text not null,
    detail text not null,
    opened_at timestamptz not null,
    closed_at timestamptz
);
create unique index rate_alarms_open on rate_alarms (kind, source, pair) where closed_at is null;
