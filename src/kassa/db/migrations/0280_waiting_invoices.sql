-- What waits for a person is counted and listed without reading what a policy decided by itself: the condition is `WAITING` in invoices/store.py.
create index invoices_waiting on invoices (store_id, flags, id desc) where flags <> '{}' and not flags @> '{marked}'
    and (flags @> '{reversed}' or rules && '{short.flag}' or (flags @> '{overpaid}' and rules && '{over.flag}')
        or (status = 'expired' and rules && '{late.flag,late.rate}' and not rules && '{short.credit}'));
