-- The decimals of every asset in which amounts are kept: they say what the units mean, also after the asset was taken out of
-- the settings. They can be corrected only while nothing was asked for or paid in the asset.

create table assets (
    id text primary key check (id ~ '^[^@]+@[^@]+$'),
    decimals integer not null check (decimals between 0 and 36)
);

create function refuse_other_decimals() returns trigger language plpgsql as $$
begin
    if exists (select from payment_options where asset = old.id) or exists (select from payments where asset = old.id) then
        raise exception '% is in use: its decimals stay', old.id
            using errcode = 'check_violation', constraint = 'assets_in_use';
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end $$;
create trigger assets_in_use before update or delete on assets for each row execute function refuse_other_decimals();
create trigger assets_no_truncate before truncate on assets execute function refuse_change();

-- What earlier versions wrote says it itself: the event of an invoice that offers the asset ...
insert into assets (id, decimals)
select offered.asset, (said ->> 'decimals')::integer
from (select asset, min(invoice_id) as invoice_id from payment_options group by asset) offered
cross join lateral (
    select object::json as object from events
    where invoice_id = offered.invoice_id and type = 'invoice.created' order by created_at, position limit 1
) created
cross join lateral json_array_elements(created.object -> 'payment_options') as said
where said ->> 'asset' = offered.asset;

-- ... or that of a payment in it, whose amount is written with all its decimals. The rest is known by the settings.
insert into assets (id, decimals)
select paid.asset, length(split_part(said.amount, '.', 2))
from (select asset, min(id) as id from payments where store_id is not null group by asset) paid
join payments p on p.id = paid.id
cross join lateral (
    select object::json ->> 'amount' as amount from events
    where store_id = p.store_id and type like 'payment.%' and object::json ->> 'id' = p.id limit 1
) said
where replace(said.amount, '.', '')::numeric = p.units
on conflict do nothing;
