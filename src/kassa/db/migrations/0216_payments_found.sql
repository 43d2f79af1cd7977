-- Payments are listed by state, asset and days without reading those of others. Nearly all are settled: these need no index.
create index payments_status on payments (store_id, status, id desc) where status <> 'settled';
create index payments_asset on payments (store_id, asset, id desc);
create index payments_seen on payments (store_id, first_seen_at desc, id desc);
