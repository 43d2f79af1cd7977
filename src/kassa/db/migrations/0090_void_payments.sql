-- Since which height a block of our chain holds a payment's transaction, or takes its place, without the payment: it
-- failed there, or what it did there is another movement. Until that block is undone the payment is lost.
alter table payments add column void_height bigint;
create index payments_void on payments (network, void_height) where void_height is not null;
