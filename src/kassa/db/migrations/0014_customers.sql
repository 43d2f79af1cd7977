-- Customers: whom a store can credit. Their deposits are payments without an invoice; what they spend is a fact of its own.

create table customers (
    id text primary key,
    store_id text not null references stores,
    reference text,
    name text,
    metadata text not null default '{}',
    created_at timestamptz not null,
    constraint customers_reference unique (store_id, reference),
    -- For keys that name both: nothing of one store can point at a customer of another.
    constraint customers_store unique (store_id, id)
);

-- Not valid: earlier versions took any text of the right shape. What is written from now on is checked.
alter table invoices add constraint invoices_customer
    foreign key (store_id, customer_id) references customers (store_id, id) not valid;
create index invoices_customer on invoices (customer_id, id desc) where customer_id is not null;

alter table addresses
    add column customer_id text,
    add constraint addresses_customer foreign key (store_id, customer_id) references customers (store_id, id),
    add constraint addresses_one_owner check (invoice_id is null or customer_id is null);
create unique index addresses_of_customer on addresses (customer_id, network) where customer_id is not null;

alter table payments
    -- Whose deposit it is; an invoice's payment has none.
    add column customer_id text,
    -- Of a deposit: required confirmations by amount, as in payment_options.
    add column confirmations jsonb,
    -- Rate in the store's currency at the moment first seen, where no option's rate says what it is worth there.
    add column book_rate text,
    add column book_rate_source text,
    add constraint payments_customer foreign key (store_id, customer_id) references customers (store_id, id),
    add constraint payments_one_owner check (invoice_id is null or customer_id is null);
create index payments_of_customer on payments (customer_id, id desc) where customer_id is not null;

-- What is announced of a customer's credit: `units` can be spent; `owed` was spent and then taken back by the chain.
create table customer_balances (
    customer_id text not null references customers,
    asset text not null,
    units numeric(78,0) not null default 0 check (units >= 0),
    owed numeric(78,0) not null default 0 check (owed >= 0),
    check (units = 0 or owed = 0),
    primary key (customer_id, asset)
);

create table spends (
    id text primary key,
    store_id text not null references stores,
    customer_id text not null,
    invoice_id text not null references invoices,
    asset text not null,
    units numeric(78,0) not null check (units > 0),
    -- In the store's currency, for the books.
    rate text,
    made_at timestamptz not null,
    made_by text not null,
    foreign key (store_id, customer_id) references customers (store_id, id)
);
create index spends_invoice on spends (invoice_id);
create index spends_customer on spends (customer_id, id desc);
create trigger spends_append_only before update or delete on spends for each row execute function refuse_change();
create trigger spends_no_truncate before truncate on spends execute function refuse_change();
