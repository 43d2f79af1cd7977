-- What a merchant decides beforehand about short, excess and late payments: a store's default, copied into each invoice.

alter table stores
    add column tolerance_units numeric(78,0) not null default 0 check (tolerance_units >= 0),
    add column on_short text not null default 'flag' check (on_short in ('flag', 'accept', 'credit')),
    add column short_limit_ppm integer not null default 0 check (short_limit_ppm between 0 and 999999),
    add column on_over text not null default 'flag' check (on_over in ('flag', 'credit')),
    add column late_grace_seconds integer not null default 0 check (late_grace_seconds between 0 and 604800),
    add column late_rate_ppm integer not null default 10000 check (late_rate_ppm between 0 and 1000000),
    -- Raised by every change, so that of two people who change a store at once one is told.
    add column version bigint not null default 1;

alter table invoices
    add column tolerance_units numeric(78,0) not null default 0,
    add column on_short text not null default 'flag',
    add column short_limit_ppm integer not null default 0,
    add column on_over text not null default 'flag',
    add column late_grace_seconds integer not null default 0,
    add column late_rate_ppm integer not null default 10000,
    -- What decided about the standing last announced.
    add column rules text[] not null default '{}';
