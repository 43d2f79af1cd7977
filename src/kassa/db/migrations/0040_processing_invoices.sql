-- Paid invoices that wait for blocks have no deadline: counting them must not read every invoice there ever was.

create index invoices_processing on invoices (id) where status = 'processing';
