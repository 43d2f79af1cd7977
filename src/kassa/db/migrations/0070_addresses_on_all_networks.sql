-- A keychain's addresses are the same on all networks of its space, and who pays on the wrong one must be seen there: each
-- is watched wherever its keychain is, or once was, anybody's wallet.
alter table keychains add column networks text[] not null default '{}';
update keychains k set networks = array(
    select distinct w.network from wallets w where w.keychain_id = k.id order by w.network
);

-- Of an address that is watched for a customer and is not the one to be shown to them on this network: their store has, or
-- had when it was issued, no wallet of its keychain here. Whoever is given it also here gets it as `customer_id`.
alter table addresses add column watched_for text,
    add constraint addresses_watched_for foreign key (store_id, watched_for) references customers (store_id, id),
    add constraint addresses_watched_alone check (watched_for is null or (invoice_id is null and customer_id is null));
create index addresses_watched on addresses (network) where watched_for is not null;
