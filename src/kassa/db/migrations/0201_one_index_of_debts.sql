-- Whoever owes something is found by customer_balances_owing, written off or not.
drop index customer_balances_owed;
