-- Deliveries in lanes: one lane per receiver, so that a slow one stands in nobody's way, and in order per invoice.

alter table deliveries
    -- The store and the endpoint, or the store and the origin of an invoice's own URL.
    add column lane text not null default '',
    -- Of the event: deliveries of one invoice in one lane leave in this order.
    add column invoice_id text,
    add column position bigint not null default 0,
    -- While an attempt runs: when to assume that it died (due_at says the same, so that nobody tries before).
    add column claimed_until timestamptz;
alter table deliveries alter column lane drop default, alter column position drop default;

drop index deliveries_due;
drop index deliveries_event;
-- A delivery of a disabled endpoint stays 'due' without a time, until the endpoint is enabled again.
create index deliveries_due on deliveries (lane, due_at) where state = 'due';
create index deliveries_chain on deliveries (lane, invoice_id, position) where state = 'due' and invoice_id is not null;
-- What is being sent right now: few rows, asked for at every claim.
create index deliveries_claimed on deliveries (lane, invoice_id) where claimed_until is not null;
