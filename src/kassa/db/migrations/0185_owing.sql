-- Those few who owe something are found without reading every balance of a store.
create index customer_balances_owing on customer_balances (customer_id) where owed > 0;
