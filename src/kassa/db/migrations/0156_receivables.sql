-- What a customer owes (credit that they spent and that was then taken back) is a receivable, and a loss only once a person has
-- written it off. `written_off` is how much of `owed` that is now: what comes back makes good the rest first.
alter table customer_balances add column written_off numeric(78,0) not null default 0 check (written_off >= 0);

create table write_offs (
    id bigint generated always as identity primary key,
    store_id text not null references stores,
    customer_id text not null,
    asset text not null,
    units numeric(78,0) not null check (units > 0),
    note text not null,
    decided_at timestamptz not null,
    decided_by text not null,
    foreign key (store_id, customer_id) references customers (store_id, id)
);
create index write_offs_customer on write_offs (customer_id, asset);
create trigger write_offs_append_only before update or delete on write_offs for each row execute function refuse_change();
create trigger write_offs_no_truncate before truncate on write_offs execute function refuse_change();

-- What earlier versions booked to losses is owed still: one entry for each customer moves it, with the value that it has.
with lost as (
    select e.store_id, e.customer_id, p.asset, sum(p.units) as units, sum(p.value_units) as value
    from entries e join postings p on p.entry_id = e.id
    where p.account = 'losses' and e.payment_id is null and e.spend_id is null
    group by 1, 2, 3 having sum(p.units) <> 0 or sum(p.value_units) <> 0
), asked as (
    select nextval(pg_get_serial_sequence('entries', 'id')) as id, o.* from (
        select distinct store_id, customer_id from lost order by customer_id) o
), written as (
    insert into entries (id, store_id, customer_id, reason, booked_at) overriding system value
    select id, store_id, customer_id, 'owed by the customer, no loss', now() from asked
)
insert into postings (entry_id, account, asset, units, value_units)
select a.id, m.account, l.asset, m.sign * l.units, m.sign * l.value
from lost l join asked a on a.customer_id = l.customer_id
cross join (values ('losses', -1), ('receivables', 1)) as m (account, sign);
