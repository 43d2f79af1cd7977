-- A transaction that a reorganisation puts into another block is carried out again there: what its third log or call pays
-- may then be another amount, to another address, in another asset. The amount is corrected in place; what goes
-- elsewhere is another payment.

alter table payments drop constraint payments_transfer,
    add constraint payments_transfer unique (network, txid, position, address_id, asset);
