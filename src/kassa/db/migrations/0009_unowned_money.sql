-- Money that came to addresses without an owner is in the books from now on: what is in blocks already is booked here.

create index payments_unowned on payments (network, block_height) where store_id is null;

with booked as (
    insert into entries (payment_id, reason, booked_at)
    select id, 'payment without an owner', now() from payments where store_id is null and block_height is not null
    returning id, payment_id
)
insert into postings (entry_id, account, asset, units)
select b.id, side.account, p.asset, side.units from booked b join payments p on p.id = b.payment_id
cross join lateral (values ('chain:' || p.network, p.units), ('unowned', -p.units)) as side (account, units);
