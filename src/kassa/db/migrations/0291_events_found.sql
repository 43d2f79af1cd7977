-- Events are found by what they are about without reading all there are; those of invoices are by their invoice already.
create index events_about on events (store_id, (substring(object from '^\{"object":"[a-z_]+","(?:id|customer_id)":"([a-z]{3}_[0-9a-z]{29})"')), sequence)
    where invoice_id is null or type not like 'invoice.%' and type not like 'payment.%';
