-- Payment links: a page that asks for an amount, and makes an invoice for each attempt to pay it.

create table payment_links (
    id text primary key,
    store_id text not null references stores,
    title text not null,
    description text,
    reference text,
    metadata text not null default '{}',
    -- What is asked, in units of the currency: an amount, or bounds between which the payer chooses. Never changed.
    currency text not null,
    amount_units numeric(78,0) check (amount_units > 0),
    least_units numeric(78,0) check (least_units > 0),
    most_units numeric(78,0) check (most_units >= least_units),
    -- The asset it is priced in, and then the only one it can be paid in.
    asset text,
    payment_options text[],
    reusable boolean not null,
    show_received boolean not null,
    invoice_seconds integer not null check (invoice_seconds > 0),
    redirect_url text,
    expires_at timestamptz,
    closed_at timestamptz,
    created_at timestamptz not null,
    -- What was last announced; the sums of a reusable link are not, its invoices tell them.
    status text not null default 'open' check (status in ('open', 'processing', 'completed', 'expired', 'closed')),
    flags text[] not null default '{}',
    paid_units numeric(78,0) not null default 0,
    settled_units numeric(78,0) not null default 0,
    -- The next moment at which the clock alone may change the standing.
    deadline timestamptz,
    constraint payment_links_one_ask check ((amount_units is null) <> (least_units is null)),
    -- For keys that name both: nothing of one store can point at a link of another.
    constraint payment_links_store unique (store_id, id)
);
create index payment_links_page on payment_links (store_id, id desc);
create index payment_links_deadline on payment_links (deadline) where deadline is not null;

alter table invoices
    add column link_id text,
    add constraint invoices_link foreign key (store_id, link_id) references payment_links (store_id, id) not valid;
create index invoices_link on invoices (link_id, id desc) where link_id is not null;

-- Who began to pay a link, and the invoice they were given: null while it is being made. `payer` is a hash of what
-- only their browser holds.
create table link_attempts (
    id bigint generated always as identity primary key,
    link_id text not null references payment_links,
    payer bytea not null,
    began_at timestamptz not null,
    invoice_id text references invoices
);
create index link_attempts_link on link_attempts (link_id, began_at desc);
create index link_attempts_invoice on link_attempts (invoice_id);
