-- Whose settled money a policy gave back to the customer of an invoice that was short: from then on it is theirs, also when
-- a payment that had been dropped comes back.

create table given_back (
    id bigint generated always as identity primary key,
    invoice_id text not null references invoices,
    payment_id text unique references payments,
    spend_id text unique references spends,
    given_at timestamptz not null,
    constraint given_back_has_a_cause check (num_nonnulls(payment_id, spend_id) = 1)
);
create index given_back_invoice on given_back (invoice_id);

-- What earlier versions gave back, and the customer still has.
insert into given_back (invoice_id, payment_id, spend_id, given_at)
select e.invoice_id, e.payment_id, e.spend_id, max(e.booked_at)
from entries e join invoices i on i.id = e.invoice_id join postings p on p.entry_id = e.id
where 'short.credit' = any(i.rules) and coalesce(e.payment_id, e.spend_id) is not null
group by 1, 2, 3
having sum(p.units) filter (where p.account like 'customer:%') < 0
    or (e.spend_id is not null and coalesce(sum(p.units) filter (where p.account = 'sales'), 0) = 0)
order by 4, 2, 3;

create trigger given_back_append_only before update or delete on given_back
    for each row execute function refuse_change();
create trigger given_back_no_truncate before truncate on given_back execute function refuse_change();
