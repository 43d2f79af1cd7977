-- Which networks an invoice can be paid on, by name, sorted and separated by blanks: the clock's gate walks from set to
-- set, so that invoices held by a network that nobody sees cost it nothing. Empty where a version wrote it that knew no
-- sets: then every network is waited for.

alter table invoices add column networks text not null default '';
update invoices i set networks = array_to_string(
    array(select distinct network collate "C" from payment_options where invoice_id = i.id order by 1), ' ')
    where deadline is not null;
drop index invoices_deadline;
create index invoices_deadline on invoices (networks, deadline, id) where deadline is not null;
