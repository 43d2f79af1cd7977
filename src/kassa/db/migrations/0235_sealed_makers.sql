-- Keys, members and invitations are sealed when Kassa makes them: a row that was typed into the database confirms no
-- change of a wallet, and lets nobody in. What an earlier version made has no seal: the operator can confirm.

alter table api_keys add column seal bytea;
alter table members add column seal bytea;
alter table invitations add column seal bytea;
