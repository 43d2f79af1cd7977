-- By this a detector finds the newest of a wallet's addresses that was paid without reading every payment, for each wallet.
create index payments_address on payments (address_id);
