-- What needs a person's eye is found without reading the invoices that do not. Costs nothing while nothing is flagged.
create index invoices_flagged on invoices (store_id, id desc) where flags <> '{}';
create index deliveries_failed on deliveries (store_id, created_at) where state = 'failed';
-- What a store was paid, by the moment of settling.
create index invoices_settled on invoices (store_id, settled_at) where settled_at is not null;
