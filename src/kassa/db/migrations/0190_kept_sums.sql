-- What pages ask of the books and of wallets is answered without reading all there ever was.

-- The sums of a store's postings up to an entry, those of all customers as one account. Derived from the books, which decide.
create table book_sums (
    store_id text not null references stores,
    account text not null,
    asset text not null,
    units numeric(78,0) not null,
    value_units numeric(156,0) not null,
    primary key (store_id, account, asset)
);
create table book_sums_until (
    one boolean primary key default true check (one),
    entry bigint not null -- this one is in the sums, and all before it
);
insert into book_sums_until values (true, -9223372036854775808);
create index entries_store_booked on entries (store_id, booked_at);
create index customer_balances_credit on customer_balances (customer_id) where units > 0;
create index customer_balances_owed on customer_balances (customer_id) where owed > written_off;

-- Events of a type, in order.
create index events_type on events (store_id, type, sequence) where sequence is not null;

-- How far a keychain was used below an index, and the largest step there from one used index to the next.
create table keychain_gaps (
    keychain_id bigint primary key references keychains,
    below bigint not null,
    last_used bigint,
    longest bigint not null,
    kept_at timestamptz not null
);
