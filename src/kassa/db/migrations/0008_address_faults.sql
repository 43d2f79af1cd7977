-- Invoices of which a stored address was not what its wallet derives: somebody may have changed the database. One row an
-- invoice, so that the alert about it is opened once.

create table address_faults (
    invoice_id text primary key references invoices,
    assets text[] not null,
    found_at timestamptz not null
);
