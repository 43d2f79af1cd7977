-- Whose stored address, or terms, were found not to be as they were made: an invoice's or a customer's. Of a store and network one
-- alert is open, however many there are; this is what it counts. `network` is empty where not an address but the terms are wrong.
create table wrong_addresses (
    id bigint generated always as identity primary key,
    store_id text not null references stores,
    network text not null,
    owner text not null,
    found_at timestamptz not null,
    -- Since when it is right again, or asks nobody any more.
    over_at timestamptz
);
create unique index wrong_addresses_open on wrong_addresses (owner, network) where over_at is null;
create index wrong_addresses_store on wrong_addresses (store_id, network, id);
