-- What is owed measures the alert about it, so that one which a person closed is opened again when more is lost; and what is
-- owed no more is over, also where a person had closed its alert.
update alerts set measure = coalesce(replace(about::json ->> 'amount', '.', ''), '0')::numeric where kind = 'credit_lost';
update alerts a set over_at = closed_at
where kind = 'credit_lost' and closed_at is not null and over_at is null and not exists (
    select from customer_balances b
    where b.customer_id || '/' || b.asset = a.subject and b.owed > b.written_off
);
