-- Deliveries to an invoice's own webhook_url: to be read by invoice, and signed by a secret that can be replaced. The old
-- one still signs, beside the new one, until a moment.

alter table stores add column previous_webhook_secret text, add column previous_webhook_secret_until timestamptz;
create index deliveries_invoice on deliveries (invoice_id, id desc) where invoice_id is not null;
