-- The foundation: stores and keys, wallets and addresses, what the chain showed, what was asked, what was announced.
-- Amounts are whole smallest units in numeric(78,0). Hashes and txids are lower-case hexadecimal text as explorers show it.

create table stores (
    id text primary key,
    name text not null,
    currency text not null,
    livemode boolean not null,
    -- Share of the price that may be missing for an invoice to count as paid, in parts per million.
    tolerance_ppm integer not null default 0 check (tolerance_ppm between 0 and 500000),
    -- Signs the deliveries to an invoice's own webhook_url; endpoints have secrets of their own.
    webhook_secret text not null,
    created_at timestamptz not null
);

create table api_keys (
    id text primary key,
    store_id text not null references stores,
    hash bytea not null,
    scopes text[] not null,
    label text not null default '',
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    constraint api_keys_hash unique (hash)
);

create table idempotency_keys (
    store_id text not null references stores,
    key text not null,
    request_hash bytea not null,
    status smallint not null,
    body bytea not null,
    created_at timestamptz not null,
    constraint idempotency_keys_key primary key (store_id, key)
);
create index idempotency_keys_created_at on idempotency_keys (created_at);

-- ---------------------------------------------------------------- chains

-- One row per network that was ever followed. `fence` counts the holders of the lease: a commit that names an older
-- number commits nothing.
create table networks (
    id text primary key,
    chain text not null,
    fence bigint not null default 0,
    holder text,
    lease_until timestamptz,
    -- Where we stand: the last block of our best chain.
    height bigint,
    hash text,
    -- What the node last said of itself.
    node_height bigint,
    node_time timestamptz,
    state text not null default 'unreachable' check (state in ('ok', 'syncing', 'stalled', 'halted', 'unreachable')),
    detail text not null default '',
    contacted_at timestamptz,
    -- The moment up to which we have seen everything the node had: blocks to its tip, and its whole mempool.
    observed_at timestamptz,
    -- Set by an operator's decision after a halt: the depth of reorganisation allowed once.
    allowed_reorg bigint
);

create table blocks (
    network text not null references networks,
    height bigint not null,
    hash text not null,
    parent text not null,
    time timestamptz not null,
    primary key (network, height)
);

-- What an operator decided about a network, and when.
create table network_decisions (
    id bigint generated always as identity primary key,
    network text not null references networks,
    decided_at timestamptz not null,
    decision text not null,
    detail text not null
);

-- ---------------------------------------------------------------- wallets and addresses

-- A keychain is a descriptor on a network with its one counter, for ever. Wallets of several stores may share it.
create table keychains (
    id bigint generated always as identity primary key,
    network text not null,
    descriptor text not null,
    fingerprint text not null,
    next_index bigint not null default 0 check (next_index between 0 and 2147483648),
    created_at timestamptz not null,
    constraint keychains_descriptor unique (network, descriptor)
);

create function keep_index_growing() returns trigger language plpgsql as $$
begin
    if new.next_index < old.next_index or new.descriptor <> old.descriptor or new.network <> old.network then
        raise exception 'a keychain keeps its descriptor and its index never falls';
    end if;
    return new;
end $$;
create trigger keychains_grow before update on keychains for each row execute function keep_index_growing();

create table wallets (
    id text primary key,
    store_id text not null references stores,
    network text not null,
    keychain_id bigint not null references keychains,
    created_at timestamptz not null,
    constraint wallets_network unique (store_id, network)
);

create table addresses (
    id text primary key,
    network text not null,
    script bytea not null,
    address text not null,
    watch_key bigint not null,
    keychain_id bigint not null references keychains,
    index bigint not null,
    -- Without an owner when the chain showed it before we issued it (a restored backup).
    store_id text references stores,
    invoice_id text,
    created_at timestamptz not null,
    -- The transaction that made the row: ids are handed out before commit, so "newer than the last seen" asks by this.
    made_by xid8 not null default pg_current_xact_id(),
    constraint addresses_script unique (network, script),
    constraint addresses_index unique (keychain_id, index)
);
create index addresses_made_by on addresses (network, made_by);

-- ---------------------------------------------------------------- invoices

create table invoices (
    id text primary key,
    store_id text not null references stores,
    -- terms
    amount_units numeric(78,0) not null check (amount_units > 0),
    currency text not null,
    tolerance_ppm integer not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    reference text,
    description text,
    metadata text not null default '{}',
    customer_id text,
    redirect_url text,
    webhook_url text,
    -- the standing last announced
    status text not null check (status in ('new', 'processing', 'settled', 'expired', 'invalid')),
    flags text[] not null default '{}',
    is_final boolean not null default false,
    paid_units numeric(78,0) not null default 0,
    settled_units numeric(78,0) not null default 0,
    settled_at timestamptz,
    -- The next moment at which the clock alone may change the standing.
    deadline timestamptz
);
create index invoices_store on invoices (store_id, id desc);
create index invoices_reference on invoices (store_id, reference) where reference is not null;
create index invoices_deadline on invoices (deadline) where deadline is not null;

create table payment_options (
    invoice_id text not null references invoices,
    asset text not null,
    network text not null,
    address_id text not null references addresses,
    due_units numeric(78,0) not null check (due_units > 0),
    -- Whole currency units per whole asset unit, as an exact decimal or fraction ("60000", "1/3").
    rate text not null,
    rate_source text not null,
    rate_at timestamptz not null,
    -- Required confirmations by amount: [[largest asset units or null, blocks], ...], ascending.
    confirmations jsonb not null,
    primary key (invoice_id, asset)
);

-- A person's word on an invoice. Never changed; the last one counts.
create table invoice_decisions (
    id bigint generated always as identity primary key,
    invoice_id text not null references invoices,
    decision text not null check (decision in ('settled', 'invalid')),
    decided_at timestamptz not null,
    decided_by text not null
);
create index invoice_decisions_invoice on invoice_decisions (invoice_id);

-- ---------------------------------------------------------------- payments

create table payments (
    id text primary key,
    network text not null,
    txid text not null,
    position text not null,
    asset text not null,
    units numeric(78,0) not null check (units > 0),
    maturity integer not null,
    address_id text not null references addresses,
    -- Null when nobody owns the address yet: money that came to an index above ours.
    store_id text references stores,
    invoice_id text references invoices,
    -- what was seen
    first_seen_at timestamptz not null,
    replaceable boolean not null,
    block_height bigint,
    block_hash text,
    missing_since timestamptz,
    conflict_txid text,
    conflict_height bigint,
    -- Rate at the moment first seen, when that was after the lock on the option's rate had ended.
    late_rate text,
    late_rate_source text,
    -- the state last announced; null: nothing yet
    status text check (status in ('detected', 'confirming', 'settled', 'replaced', 'dropped', 'reversed')),
    value_units numeric(78,0) not null default 0,
    confirmations_required integer not null default 0,
    settled_at timestamptz,
    constraint payments_transfer unique (network, txid, position)
);
create index payments_invoice on payments (invoice_id);
create index payments_store on payments (store_id, id desc);
create index payments_block on payments (network, block_height) where block_height is not null;
create index payments_conflict on payments (network, conflict_height) where conflict_height is not null;
create index payments_unconfirmed on payments (network) where block_height is null;
create index payments_confirming on payments (network, (block_height + confirmations_required - 1))
    where status = 'confirming';

-- What our payments' transactions spend: another transaction that spends one of these replaces the payment.
create table payment_inputs (
    network text not null,
    outpoint text not null,
    txid text not null,
    watch_key bigint not null,
    made_by xid8 not null default pg_current_xact_id(),
    primary key (network, outpoint, txid)
);
create index payment_inputs_txid on payment_inputs (network, txid);
create index payment_inputs_made_by on payment_inputs (network, made_by);

-- ---------------------------------------------------------------- books

create table entries (
    id bigint generated always as identity primary key,
    store_id text references stores,
    payment_id text not null references payments,
    invoice_id text references invoices,
    reason text not null,
    booked_at timestamptz not null
);
create index entries_payment on entries (payment_id);

create table postings (
    entry_id bigint not null references entries,
    account text not null,
    asset text not null,
    units numeric(78,0) not null check (units <> 0),
    primary key (entry_id, account, asset)
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: correct it by a mirrored entry', tg_table_name;
end $$;
create trigger entries_append_only before update or delete on entries for each row execute function refuse_change();
create trigger postings_append_only before update or delete on postings for each row execute function refuse_change();
create trigger entries_no_truncate before truncate on entries execute function refuse_change();
create trigger postings_no_truncate before truncate on postings execute function refuse_change();

create function refuse_unbalanced() returns trigger language plpgsql as $$
begin
    if exists (select from postings where entry_id = new.entry_id group by asset having sum(units) <> 0) then
        raise exception 'entry % does not balance', new.entry_id;
    end if;
    return null;
end $$;
create constraint trigger postings_balance after insert on postings
    deferrable initially deferred for each row execute function refuse_unbalanced();

-- ---------------------------------------------------------------- events and webhooks

-- The outbox and the history. `position` is the order of writing; `sequence` the gapless order of publication per store,
-- given after commit so that writers of one store do not wait for each other.
create table events (
    id text primary key,
    position bigint generated always as identity,
    store_id text not null references stores,
    sequence bigint,
    type text not null,
    created_at timestamptz not null,
    invoice_id text,
    object text not null,
    constraint events_sequence unique (store_id, sequence)
);
create index events_unnumbered on events (store_id, position) where sequence is null;

create table webhooks (
    id text primary key,
    store_id text not null references stores,
    url text not null,
    events text[] not null,
    secret text not null,
    previous_secret text,
    previous_secret_until timestamptz,
    created_at timestamptz not null,
    disabled_at timestamptz,
    disabled_reason text,
    deleted_at timestamptz
);
create index webhooks_store on webhooks (store_id) where deleted_at is null;

create table deliveries (
    id text primary key,
    event_id text not null references events,
    store_id text not null references stores,
    -- Null for an invoice's own webhook_url.
    webhook_id text references webhooks,
    url text not null,
    state text not null check (state in ('due', 'delivered', 'failed')),
    created_at timestamptz not null,
    -- When to try next; while an attempt runs, when to assume that it died.
    due_at timestamptz,
    attempts integer not null default 0
);
create index deliveries_due on deliveries (due_at) where state = 'due';
create index deliveries_webhook on deliveries (webhook_id, id desc);
create index deliveries_event on deliveries (event_id);

create table delivery_attempts (
    delivery_id text not null references deliveries,
    number integer not null,
    started_at timestamptz not null,
    duration_ms integer not null,
    status_code integer,
    error text,
    response text,
    primary key (delivery_id, number)
);
