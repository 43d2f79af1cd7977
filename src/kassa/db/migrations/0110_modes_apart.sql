-- A keychain may serve live and test stores, and has the same addresses on all networks of its space: those of a store were
-- watched on networks of the other mode too, where coins cost nothing. A network's mode is that of the stores with a wallet
-- there. An address there that was paid stays, as nobody's.
create temporary table foreign_addresses on commit drop as
select a.id from addresses a join stores s on s.id = a.store_id
where a.customer_id is null
    and not exists (select from payment_options o where o.address_id = a.id)
    and s.livemode <> all (select o.livemode from wallets w join stores o on o.id = w.store_id where w.network = a.network)
    and exists (select from wallets w where w.network = a.network);

update addresses set store_id = null, invoice_id = null, watched_for = null, seal = null
where id in (select id from foreign_addresses);

delete from addresses a using foreign_addresses f
where a.id = f.id and not exists (select from payments p where p.address_id = a.id)
    and not exists (select from differences d where d.address_id = a.id);
drop table foreign_addresses;
