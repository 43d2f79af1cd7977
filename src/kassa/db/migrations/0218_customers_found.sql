-- Customers are found by how their names begin, and what is on its way to them without reading every deposit they ever made.
create index customers_name on customers (store_id, lower(name) collate "C") where name is not null;
create index payments_pending on payments (customer_id) where status in ('detected', 'confirming');
