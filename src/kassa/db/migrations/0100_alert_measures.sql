-- How much is wrong may be an amount of wei.

alter table alerts alter column measure type numeric(78, 0);
