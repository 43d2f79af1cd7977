-- What the invoices of a reusable link come to, by their status: whoever looks at it need not add up all there ever were. Derived
-- from the invoices, which decide. Rows are summands: each change of an invoice adds its own, in its transaction, and waits for
-- nobody; now and then those of one link and status are made one.
create table link_sums (
    link_id text not null references payment_links,
    status text not null,
    invoices bigint not null,
    paid_units numeric(78,0) not null,
    settled_units numeric(78,0) not null
);
create index link_sums_link on link_sums (link_id, status);

-- By triggers: while processes of the version before are still running, what they change is summed up as well.
create function sum_up_link() returns trigger language plpgsql as $$
begin
    insert into link_sums
    select new.link_id, part.* from (values
        (old.status, -1, -old.paid_units, -old.settled_units), (new.status, 1, new.paid_units, new.settled_units)
    ) as part (status, invoices, paid_units, settled_units)
    where part.status is not null and (select reusable from payment_links where id = new.link_id);
    return null;
end $$;
create trigger invoices_sum_new after insert on invoices for each row when (new.link_id is not null)
    execute function sum_up_link();
create trigger invoices_sum_changed after update of status, paid_units, settled_units on invoices for each row
    when (new.link_id is not null and (old.status, old.paid_units, old.settled_units)
        is distinct from (new.status, new.paid_units, new.settled_units))
    execute function sum_up_link();

-- After the triggers, which keep writers out until this is committed: nothing is missed, nothing counts twice.
insert into link_sums
select i.link_id, i.status, count(*), sum(i.paid_units), sum(i.settled_units)
from invoices i join payment_links l on l.id = i.link_id where l.reusable group by 1, 2;
