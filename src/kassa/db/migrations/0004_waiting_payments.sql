-- What a look into the mempool is compared with: payments that wait for a block, not the dead ones, which only grow.

drop index payments_unconfirmed;
create index payments_waiting on payments (network)
    where block_height is null and (status is null or status in ('detected', 'confirming', 'settled'));
