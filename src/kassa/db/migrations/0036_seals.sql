-- Seals: a keyed hash over each wallet and each address, made when it was issued. The key is not in the database, so
-- whoever can only write here cannot make one.

alter table wallets add column seal bytea;
alter table addresses add column seal bytea;

-- Which key makes the seals, by a hash of it; one row.
create table seal_keys (
    one boolean primary key default true check (one),
    fingerprint bytea not null
);

create index addresses_of_customers on addresses (id) where customer_id is not null;
