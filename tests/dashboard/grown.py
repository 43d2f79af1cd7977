"""A store that has done business for years: its rows, many times over, older than everything that a test made."""

from asyncpg import Connection

Ids = dict[str, str]

# Each takes the rows that are there and the number of copies. Numbers below zero and ids of zeros are older than any.
_COPIES = """
insert into addresses select (json_populate_record(a, json_build_object('id', 'adr_' || lpad(n::text, 29, '0'),
        'invoice_id', 'inv_' || lpad(n::text, 29, '0'), 'address', 'bcrt1q' || n, 'index', n + 1000,
        'created_at', a.created_at - interval '400 days',
        'script', '\\x' || lpad(to_hex(n), 44, '0')))).*
    from addresses a, generate_series(1, $1::int) n where a.invoice_id = $2;
insert into invoices select (json_populate_record(i, json_build_object('id', 'inv_' || lpad(n::text, 29, '0'),
        'status', case when n % 2 = 0 then 'settled' else 'expired' end, 'is_final', true, 'deadline', null,
        'reference', 'old-' || n, 'link_id', $6, 'flags', case
            when n % 3 = 0 then '{late,marked}' when n % 3 = 1 then '{overpaid,late}' else '{}' end::text[],
        'rules', case when n % 3 = 1 then '{late.grace,over.credit}' else '{}' end::text[],
        'created_at', i.created_at - interval '400 days',
        'expires_at', i.expires_at - interval '400 days', 'settled_at', case when n % 2 = 0
            then i.created_at - interval '400 days' end, 'paid_units', i.amount_units,
        'settled_units', i.amount_units))).*
    from invoices i, generate_series(1, $1::int) n where i.id = $2;
insert into payment_options select (json_populate_record(o, json_build_object('invoice_id', 'inv_' || lpad(n::text, 29,
        '0'), 'address_id', 'adr_' || lpad(n::text, 29, '0')))).*
    from payment_options o, generate_series(1, $1::int) n where o.invoice_id = $2;
insert into payments select (json_populate_record(p, json_build_object('id', 'pay_' || lpad(n::text, 29, '0'),
        'txid', lpad(n::text, 64, '0'), 'asset', o.asset, 'address_id', 'adr_' || lpad(n::text, 29, '0'),
        'store_id', i.store_id, 'invoice_id', 'inv_' || lpad(n::text, 29, '0'), 'status', 'settled',
        'value_units', i.amount_units, 'confirmations_required', 1, 'block_height', n,
        'first_seen_at', p.first_seen_at - interval '400 days', 'settled_at', p.first_seen_at - interval '399 days'))).*
    from payments p, invoices i, payment_options o, generate_series(1, $1::int) n
    where p.id = $3 and i.id = $2 and o.invoice_id = $2;
insert into entries (id, store_id, payment_id, invoice_id, reason, booked_at) overriding system value
    select -n, i.store_id, 'pay_' || lpad(n::text, 29, '0'), 'inv_' || lpad(n::text, 29, '0'), 'settled',
        i.created_at - interval '400 days'
    from invoices i, generate_series(1, $1::int) n where i.id = $2;
insert into postings (entry_id, account, asset, units, value_units)
    select -n, account, o.asset, units, units from payment_options o, generate_series(1, $1::int) n,
        (values ('wallet', 1000), ('sales', -1000)) as posted (account, units) where o.invoice_id = $2;
update events set sequence = $1 + position where sequence is null;
insert into events overriding system value
    select (json_populate_record(e, json_build_object('id', 'evt_' || lpad(n::text, 29, '0'), 'position', -n,
        'sequence', n, 'invoice_id', 'inv_' || lpad(n::text, 29, '0'),
        'created_at', e.created_at - interval '400 days'))).*
    from events e, generate_series(1, $1::int) n where e.invoice_id = $2 and e.type = 'invoice.created';
insert into deliveries select (json_populate_record(d, json_build_object('id', 'dlv_' || lpad(n::text, 29, '0'),
        'event_id', 'evt_' || lpad(n::text, 29, '0'), 'invoice_id', 'inv_' || lpad(n::text, 29, '0'), 'position', -n,
        'state', case when n % 100 = 0 then 'failed' else 'delivered' end, 'due_at', null, 'claimed_until', null,
        'created_at', d.created_at - interval '400 days'))).*
    from deliveries d, generate_series(1, $1::int) n where d.id = $4;
insert into customers select (json_populate_record(c, json_build_object('id', 'cus_' || lpad(n::text, 29, '0'),
        'reference', 'old-' || n, 'name', 'A' || n))).*
    from customers c, generate_series(1, $1::int) n where c.id = $5;
insert into payment_links select (json_populate_record(l, json_build_object('id', 'lnk_' || lpad(n::text, 29, '0'),
        'status', case when n % 2 = 0 then 'closed' else 'completed' end, 'deadline', null))).*
    from payment_links l, generate_series(1, $1::int) n where l.id = $6;
insert into link_sums select link_id, status, 1, paid_units, settled_units from invoices where link_id = $6;
insert into link_attempts (link_id, payer, began_at, invoice_id)
    select $6, decode(md5(n::text), 'hex'), l.created_at - interval '400 days', 'inv_' || lpad(n::text, 29, '0')
    from payment_links l, generate_series(1, $1::int) n where l.id = $6;
insert into alerts select (json_populate_record(a, json_build_object('id', 'alt_' || lpad(n::text, 29, '0'),
        'closed_at', a.opened_at, 'over_at', a.opened_at, 'closed_by', 'kassa', 'ended', 'over',
        'told_opened_at', a.opened_at, 'told_closed_at', a.opened_at))).*
    from alerts a, generate_series(1, $1::int) n where a.id = $7;
insert into acts select (json_populate_record(a, json_build_object('number', -n, 'id', 'act_' || lpad(n::text, 29,
        '0')))).*
    from acts a, generate_series(1, $1::int) n
    where a.number = (select max(number) from acts where store_id is not null and kind not in
        ('api_key.created', 'member.joined', 'invitation.made'))
"""


async def grow(connection: "Connection[object]", ids: Ids, copies: int) -> None:
    """Add so many old rows to each table that grows with business, and let the planner know of them."""
    given = [str(copies), *(f"'{ids[kind]}'" for kind in ("inv", "pay", "dlv", "cus", "lnk", "alt"))]
    script = _COPIES
    for place, text in reversed(list(enumerate(given, start=1))):
        script = script.replace(f"${place}", text)
    # What the copies lack is what nobody looks at here: checks and triggers would only take time.
    await connection.execute("set session_replication_role = replica")
    await connection.execute(script)
    await connection.execute("set session_replication_role = default")
    await connection.execute("vacuum analyze")
