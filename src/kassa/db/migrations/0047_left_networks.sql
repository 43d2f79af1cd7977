-- A network may be taken out of the settings and put back. Until when invoices were judged without waiting for it: what was
-- said to be over stays so.
alter table networks add column left_until timestamptz;

-- Sums of what one customer or invoice got: each may be as large as a chain allows. Raising a precision rewrites nothing.
alter table customer_balances alter column units type numeric(156,0), alter column owed type numeric(156,0);
alter table invoices alter column paid_units type numeric(156,0), alter column settled_units type numeric(156,0);
alter table payments alter column value_units type numeric(156,0);
