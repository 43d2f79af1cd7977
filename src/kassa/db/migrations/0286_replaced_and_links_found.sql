-- Payments are found by what replaced them, and links by their references, without reading all there are.
create index payments_replaced on payments (conflict_txid) where conflict_txid is not null;
create index payment_links_reference on payment_links (store_id, reference) where reference is not null;
