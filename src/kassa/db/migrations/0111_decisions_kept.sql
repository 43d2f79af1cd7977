-- What people decided about alerts of earlier versions still holds. Those kept no measure of a debt, so that the same debt
-- was more than had been looked at; and a disagreement's subject was its network alone, without the fork.
update alerts set measure = (about ->> 'owed_units')::numeric - (about ->> 'holdings_units')::numeric
where kind = 'books_insolvent' and measure = 0 and about ->> 'owed_units' ~ '^\d+$' and about ->> 'holdings_units' ~ '^-?\d+$';

update alerts a set subject = a.network || '/' || (a.about ->> 'parted_at')
where kind = 'chain_disagreement' and subject = network and about ->> 'parted_at' is not null and not exists (
    select from alerts o where o.kind = a.kind and o.subject = a.network || '/' || (a.about ->> 'parted_at') and o.closed_at is null);
