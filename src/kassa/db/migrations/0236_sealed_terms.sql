-- What a payer is asked for is sealed like the address: a price, an amount due or an end that was changed here is not shown.

alter table invoices add column seal bytea;

-- Faults of addresses are alerts. A process of an earlier version may still write here; a later migration drops it.
comment on table address_faults is 'not used any more';
