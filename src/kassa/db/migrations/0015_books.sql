-- The books tell more: what caused an entry, what each posting was worth in the store's currency and by which rate.

alter table entries
    alter column payment_id drop not null,
    add column spend_id text references spends,
    add column customer_id text references customers,
    -- A person's word that the books follow.
    add column decision_id bigint references invoice_decisions,
    -- What the entry is about: the sum of all entries with one cause is what the books say of it.
    add column cause text generated always as (coalesce(payment_id, spend_id, customer_id)) stored,
    add constraint entries_have_a_cause check (coalesce(payment_id, spend_id, customer_id) is not null);
drop index entries_payment;
create index entries_cause on entries (cause);
create index entries_invoice on entries (invoice_id) where invoice_id is not null;
create index entries_store on entries (store_id, id desc);

-- Entries from before tell no value (0, without a rate). Where one of them is corrected, the value may move alone.
alter table postings
    add column value_units numeric(156,0) not null default 0,
    add column rate text,
    drop constraint postings_units_check,
    add constraint postings_say_something check (units <> 0 or value_units <> 0);
create index postings_account on postings (account, entry_id);

create or replace function refuse_unbalanced() returns trigger language plpgsql as $$
begin
    if exists (select from postings where entry_id = new.entry_id group by asset
               having sum(units) <> 0 or sum(value_units) <> 0) then
        raise exception 'entry % does not balance', new.entry_id;
    end if;
    return null;
end $$;

-- What was announced of one invoice, in order.
create index events_invoice on events (invoice_id, created_at, position) where invoice_id is not null;

-- `chain:NETWORK` is called `wallet:NETWORK` from now on. Nothing written is changed: entries move what stands there.
with held as (
    select e.payment_id, e.store_id, e.invoice_id, p.account, p.asset, sum(p.units) as units
    from entries e join postings p on p.entry_id = e.id
    where p.account like 'chain:%' group by 1, 2, 3, 4, 5 having sum(p.units) <> 0
), moved as (
    insert into entries (store_id, payment_id, invoice_id, reason, booked_at)
    select store_id, payment_id, invoice_id, 'account renamed', now() from held
    returning id, payment_id
)
insert into postings (entry_id, account, asset, units)
select m.id, side.account, h.asset, side.units
from moved m join held h on h.payment_id = m.payment_id
cross join lateral (values (h.account, -h.units), ('wallet:' || substr(h.account, 7), h.units)) as side (account, units);
