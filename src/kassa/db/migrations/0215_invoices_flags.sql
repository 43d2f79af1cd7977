-- What bears a flag is counted and listed without reading what bears another, or was decided on: by each set of flags that holds it.
create index invoices_flags on invoices (store_id, flags, id desc) where flags <> '{}';
drop index invoices_flagged;
