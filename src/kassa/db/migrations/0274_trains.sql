-- What waits of one invoice at one receiver, by an expression that no other index has: without statistics, or with those of a time
-- when nothing waited, PostgreSQL took deliveries_due instead of deliveries_chain, and read all that waited at the receiver.
create index deliveries_train on deliveries ((lane || ' ' || invoice_id), position) where state = 'due' and invoice_id is not null;
-- deliveries_chain stays: processes of the version before claim by it until they end. A later version drops it.
