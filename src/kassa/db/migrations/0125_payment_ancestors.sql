-- Which unconfirmed transactions our payments' transactions hang on, and what those spend: whatever else spends one of
-- these outpoints makes the payment impossible. Not in payment_inputs: there, whatever is not the payment's own
-- transaction replaces it, and the version before this one would take the ancestor itself for that.
create table payment_ancestors (
    network text not null,
    txid text not null,
    ancestor text not null,
    primary key (network, txid, ancestor)
);
create index payment_ancestors_ancestor on payment_ancestors (network, ancestor);
create table ancestor_inputs (
    network text not null,
    outpoint text not null,
    ancestor text not null,
    watch_key bigint not null,
    made_by xid8 not null default pg_current_xact_id(),
    primary key (network, outpoint, ancestor)
);
create index ancestor_inputs_made_by on ancestor_inputs (network, made_by);
