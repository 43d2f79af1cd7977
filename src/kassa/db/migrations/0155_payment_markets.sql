-- What the market said when a payment of an invoice was first seen, and when it settled, beside the rate that was locked: what a
-- store really had of its rates. Written by a detector, after the fact; nothing is valued or decided by it.
create table payment_markets (
    payment_id text primary key references payments,
    store_id text not null references stores,
    invoice_id text not null references invoices,
    asset text not null,
    currency text not null,
    -- By the rate that the payment was valued by, in the currency's smallest units; spread_ppm is what that rate was meant to be
    -- below the market's.
    value_units numeric(78,0) not null,
    spread_ppm integer not null,
    -- At each moment: what the units were worth by the market, and how far our rate was below it, in parts per million. Null
    -- while nobody could say.
    seen_at timestamptz not null,
    seen_units numeric(78,0),
    seen_ppm numeric(78,0),
    settled_at timestamptz,
    settled_units numeric(78,0),
    settled_ppm numeric(78,0)
);
create index payment_markets_store on payment_markets (store_id, seen_at);
create index payment_markets_invoice on payment_markets (invoice_id);
create index payment_markets_seen on payment_markets (seen_at);
create index payment_markets_unsettled on payment_markets (seen_at) where settled_at is null;
