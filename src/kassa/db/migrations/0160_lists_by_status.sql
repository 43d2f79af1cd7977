-- Lists by status, and money in an asset that an invoice never offered, are found without reading all there is.

create index invoices_status on invoices (store_id, status, id desc);
create index payment_links_status on payment_links (store_id, status, id desc);
-- What came in an asset that was not offered is worth nothing to its invoice; of what was offered, hardly anything is.
create index payments_worthless on payments (id)
    where value_units = 0 and invoice_id is not null and assigned_to is null and block_height is not null;
