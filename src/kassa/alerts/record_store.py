"""Keys, members, receivers and apps that are not what the audit log says of them: the SQL."""

from kassa.alerts.seen import Unrecorded
from kassa.db.pool import Tx

MOST = 100

_UNRECORDED = """
select found.what, found.id, found.store_id from (
    select 'API key' as what, k.id as id, k.store_id,
        array_to_string(array(select unnest(k.scopes) order by 1), ' ') || array_to_string(array(
            select ' from ' || unnest(k.allowed_from) order by 1), '') as now,
        (select string_agg(distinct scope, ' ' order by scope) from acts a, json_array_elements_text(
            case when json_typeof(a.after::json -> 'scopes') = 'array' then a.after::json -> 'scopes' end) scope
            where a.store_id = k.store_id and a.subject = k.id and a.kind = 'api_key.created')
        || coalesce((select string_agg(' from ' || network, '' order by network) from json_array_elements_text(coalesce(
            (select case when json_typeof(a.after::json -> 'allowed_from') = 'array'
                then a.after::json -> 'allowed_from' end from acts a where a.store_id = k.store_id and a.subject = k.id
                and a.kind = 'api_key.changed' order by a.number desc limit 1),
            (select case when json_typeof(a.after::json -> 'allowed_from') = 'array'
                then a.after::json -> 'allowed_from' end from acts a where a.store_id = k.store_id and a.subject = k.id
                and a.kind = 'api_key.created' order by a.number desc limit 1))) network), '') as told
    from api_keys k where k.revoked_at is null
    union all
    select 'member', m.person_id, m.store_id, m.role,
        (select a.after::json ->> 'role' from acts a where a.store_id = m.store_id and a.subject = m.person_id
            and a.kind in ('member.joined', 'member.changed') order by a.number desc limit 1)
    from members m
    union all
    select 'receiver', w.id, w.store_id, w.url,
        (select a.after::json ->> 'url' from acts a where a.store_id = w.store_id and a.subject = w.id
            and a.kind in ('webhook.created', 'webhook.changed') and a.after::json ->> 'url' is not null
            order by a.number desc limit 1)
    from webhooks w where w.deleted_at is null
    union all
    select 'authenticator app', p.id || '/app', m.store_id, 'in the clear', 'encrypted'
    from people p join members m on m.person_id = p.id where p.totp_secret not like 'locked:%'
) found where found.now is distinct from found.told order by found.id limit $1
"""


async def unrecorded(tx: Tx) -> list[Unrecorded]:
    """Return what can be used and was not made, or was given other rights, networks or another URL, by an act.

    And apps whose secret is not locked: Kassa writes none so.
    """
    return [Unrecorded(row["what"], row["id"], row["store_id"]) for row in await tx.fetch(_UNRECORDED, MOST)]
