"""What an operator does from the command line: each changes one thing in one transaction and tells."""

import getpass
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, TypeVar

import asyncpg

import kassa.alerts.store as alerts
import kassa.people.store as people
import kassa.stores.store as stores
from kassa import flow
from kassa.alerts.model import Alert, Kind, Verdict
from kassa.alerts.resource import alert_resource
from kassa.audit import anchor
from kassa.audit.model import Actor
from kassa.chains.base import Chain
from kassa.core.clock import SystemClock, rfc3339
from kassa.core.errors import Conflict, DatabaseError, FieldFault, Invalid, NotFound
from kassa.core.ids import StoreId
from kassa.core.money import currency, parse_amount
from kassa.core.secret import Secret
from kassa.db.migrate import applied_names
from kassa.db.migrate import migrate as apply_migrations
from kassa.db.pool import Database, Tx
from kassa.house import House
from kassa.invoices.policy import Policy, changed
from kassa.main import open_books, open_house
from kassa.people import membership
from kassa.people.model import Role
from kassa.people.rules import INVITED, checked_email, checked_role
from kassa.settings import Settings
from kassa.stores.model import SCOPES
from kassa.stores.model import Store as StoreValue
from kassa.stores.resource import store_resource
from kassa.wallets.gap_store import gaps_of
from kassa.wallets.resource import gap_resource, wallet_resource
from kassa.wallets.rules import check_mode
from kassa.wallets.store import wallets_of
from kassa.webhooks.resource import endpoint_resource
from kassa.webhooks.rules import ROTATION, check_filters, check_url, make_secret
from kassa.webhooks.store import list_endpoints

Told = dict[str, Any]  # JSON for programs, lines for people
T = TypeVar("T")

MAX_SHARE_PPM = 500_000
_ALERTS = 1_000
_SHOWN_ADDRESSES = 3
_SECRET_BYTES = 32


async def migrate(settings: Settings) -> Told:
    """Apply the missing migrations."""
    async with open_books(settings, migrating=True) as database, database.pool.acquire() as connection:
        await apply_migrations(connection)
        return {"migrations": await applied_names(connection)}


async def create_store(
    settings: Settings, name: str, prices_in: str, *, test: bool, tolerance: str, spread: str = "0%"
) -> Told:
    """Make a store with a first key for everything."""
    policy = Policy(tolerance_ppm=share_ppm("tolerance", tolerance))
    charged = share_ppm("spread", spread)

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        store = await flow.create_store(
            tx, operator(), name, prices_in, not test, now, policy=policy, spread_ppm=charged
        )
        _, text = await flow.create_key(tx, house, operator(), store, now, label="made with the store")
        return {"store_id": store.id, "api_key": text}

    return await _in_house(settings, work)


async def set_spread(settings: Settings, store_id: str, spread: str) -> Told:
    """Change by how much a store lowers its rates."""
    ppm = share_ppm("spread", spread)

    async def work(tx: Tx, now: datetime) -> Told:
        await flow.set_spread(tx, operator(), store_id, ppm, now)
        return {"store_id": store_id, "spread_ppm": ppm}

    return await in_transaction(settings, work)


async def list_stores(settings: Settings) -> Told:
    """Tell every store."""

    async def work(tx: Tx, _now: datetime) -> Told:
        return {"data": [_store(store) for store in await stores.list_stores(tx)]}

    return await in_transaction(settings, work)


async def store_policy(settings: Settings, store_id: str, given: Mapping[str, Any]) -> Told:
    """Tell a store's policy, with some of it changed for the invoices to come."""

    async def work(tx: Tx, now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        policy = changed(store.policy, given, currency(store.currency))
        if policy != store.policy:
            version, spread = store.version, store.spread_ppm
            store = await flow.change_store(tx, operator(), store, store.name, policy, spread, version, now)
        return store_resource(store)

    return await in_transaction(settings, work)


async def create_key(
    settings: Settings, store_id: str, scopes: Sequence[str], label: str, allowed_from: Sequence[str]
) -> Told:
    """Make another key for a store; without scopes, one for everything; without networks, to be used from anywhere."""

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        key_id, text = await flow.create_key(
            tx, house, operator(), store, now, scopes=scopes or SCOPES, label=label, allowed_from=allowed_from
        )
        return {"key_id": key_id, "store_id": store.id, "api_key": text}

    return await _in_house(settings, work)


async def list_keys(settings: Settings, store_id: str) -> Told:
    """Tell a store's keys, without their texts, which nobody has any more."""

    async def work(tx: Tx, _now: datetime) -> Told:
        await stores.get_store(tx, store_id)
        return {"data": [_plain(dict(row)) for row in await stores.list_keys(tx, store_id)]}

    return await in_transaction(settings, work)


async def revoke_key(settings: Settings, key_id: str) -> Told:
    """End a key at once."""

    async def work(tx: Tx, now: datetime) -> Told:
        await flow.revoke_key(tx, operator(), key_id, now)
        return {"key_id": key_id, "revoked": True}

    return await in_transaction(settings, work)


async def bind_key(settings: Settings, key_id: str, networks: Sequence[str]) -> Told:
    """Let a key be used from these networks alone, or, where there are none, from anywhere."""

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        allowed = await flow.bind_key(tx, house, operator(), key_id, networks, now)
        return {"key_id": key_id, "allowed_from": list(allowed)}

    return await _in_house(settings, work)


async def add_wallet(settings: Settings, store_id: str, network: str, descriptor: str) -> Told:
    """Give a store a wallet; tells its first addresses, to be compared with those that the signing wallet shows."""

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        chain = _chain(house, network)
        # First of all: whoever gave a private key must hear of that, whatever else is wrong.
        account = chain.addresses.account(descriptor)
        check_mode(network, chain.livemode, store.livemode)
        wallet = await flow.add_wallet(tx, house, operator(), store.id, network, account, now)
        return {"wallet_id": wallet.id} | wallet_resource(wallet) | _first_addresses(chain, wallet.descriptor)

    return await _in_house(settings, work)


async def list_wallets(settings: Settings, store_id: str) -> Told:
    """Tell a store's wallets, also those that were replaced, newest first."""

    async def work(tx: Tx, _now: datetime) -> Told:
        await stores.get_store(tx, store_id)
        found = await wallets_of(tx, store_id, retired=True)
        gaps = await gaps_of(tx, [wallet.keychain_id for wallet in found])
        return {"data": [wallet_resource(each) | gap_resource(gaps[each.keychain_id]) for each in found]}

    return await in_transaction(settings, work)


async def change_wallet(settings: Settings, store_id: str, network: str, descriptor: str) -> Told:
    """Ask that a store's wallet be replaced; tells the new one's first addresses, to be compared before confirming."""

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        chain, account = _chain(house, network), _chain(house, network).addresses.account(descriptor)
        mine = {wallet.network: wallet for wallet in await wallets_of(tx, store_id)}
        if network not in mine:
            raise NotFound(
                f"the store has no wallet on {network}: `kassa wallet add --store sto_… --network NETWORK"
                " --descriptor …` gives it one, at once"
            )
        asked = await flow.ask_wallet_change(tx, house, operator(), store_id, mine[network].id, account, now)
        return asked | _first_addresses(chain, account.descriptor)

    return await _in_house(settings, work)


async def confirm_wallet(settings: Settings, change_id: str, fingerprint: str) -> Told:
    """Confirm the change of a wallet as the operator, who may also have asked."""

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        return await flow.confirm_wallet_change(tx, house, operator(), None, change_id, fingerprint, now)

    return await _in_house(settings, work)


async def cancel_wallet(settings: Settings, change_id: str) -> Told:
    """Give the change of a wallet up."""

    async def work(tx: Tx, now: datetime) -> Told:
        return await flow.cancel_wallet_change(tx, operator(), None, change_id, now)

    return await in_transaction(settings, work)


async def add_webhook(settings: Settings, store_id: str, url: str, events: Sequence[str]) -> Told:
    """Add a receiver of a store's events; its secret is told here and never again."""
    private = settings.webhooks.allow_private_addresses
    checked, filters = check_url(url, private=private), check_filters(events or ("*",))
    secret = make_secret(secrets.token_bytes(_SECRET_BYTES))

    async def work(tx: Tx, now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        endpoint = await flow.create_endpoint(tx, operator(), store.id, checked, filters, Secret(secret), now)
        return {"webhook_id": endpoint.id} | endpoint_resource(endpoint) | {"secret": secret}

    return await in_transaction(settings, work)


async def list_webhooks(settings: Settings, store_id: str) -> Told:
    """Tell a store's receivers, newest first, without their secrets."""

    async def work(tx: Tx, _now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        return {"data": [endpoint_resource(each) for each in await list_endpoints(tx, store.id, limit=None)]}

    return await in_transaction(settings, work)


async def webhook_secret(settings: Settings, store_id: str, *, rotate: bool = False) -> Told:
    """Tell the secret that signs deliveries to the webhook_url of a store's invoices.

    Rotated, a new one is told; the one before it signs beside it for a day.
    """

    async def work(tx: Tx, now: datetime) -> Told:
        if rotate:
            secret = Secret(make_secret(secrets.token_bytes(_SECRET_BYTES)))
            await flow.rotate_webhook_secret(tx, operator(), store_id, secret, now + ROTATION, now)
        shown = await flow.show_webhook_secret(tx, operator(), store_id, now)
        told = {"store_id": store_id, "secret": shown.reveal()}
        return told | {"previous_secret_until": rfc3339(now + ROTATION)} if rotate else told

    return await in_transaction(settings, work)


async def invite_user(settings: Settings, store_id: str, email: str, role: str) -> Told:
    """Make a link that lets somebody into a store's dashboard, once."""
    address, place = checked_email(email), checked_role(role)

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        return await _link(tx, house, address, (store.id, place), now)

    return await _in_house(settings, work)


async def link_user(settings: Settings, email: str, *, lost: bool = False) -> Told:
    """Make a link that signs a known person in, once, without password or code: for who has lost them.

    `lost`: their password, app, recovery codes, passkeys and sessions are void once it is used; they set up new ones.
    """
    address = checked_email(email)

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        if await people.find(tx, address) is None:
            raise NotFound(f"nobody signs in with {address!r}; see `kassa user invite --store sto_… --email …`")
        return await _link(tx, house, address, None, now, voids=lost)

    return await _in_house(settings, work)


async def _link(
    tx: Tx, house: House, email: str, place: tuple[StoreId, Role] | None, now: datetime, *, voids: bool = False
) -> Told:
    token = await membership.invite(tx, house.seal, operator(), email, place, now, voids=voids)
    link = f"{house.settings.http.public_url}/dashboard/invitation/{token}"
    return {"email": email, "link": link, "expires_at": rfc3339(now + INVITED)}


async def resume_network(settings: Settings, network: str, depth: int) -> Told:
    """Let a halted network be followed again."""

    async def work(tx: Tx, now: datetime) -> Told:
        await flow.resume_network(tx, network, depth, operator(), now)
        return {"network": network, "allowed_reorg": depth}

    return await in_transaction(settings, work)


async def give_up_network(settings: Settings, network: str) -> Told:
    """Wait no more, after a restore, for a network that will not be followed any more."""

    async def work(tx: Tx, now: datetime) -> Told:
        await flow.give_up_network(tx, network, operator(), now)
        return {"network": network, "given_up": True}

    return await in_transaction(settings, work)


async def thaw_asset(settings: Settings, asset: str) -> Told:
    """Offer and settle a frozen asset again, with its contract as it is now."""
    async with open_house(settings) as house:
        await house.database.run(lambda tx: flow.thaw_asset(tx, house, asset, operator(), house.clock.now()))
    return {"asset": asset, "frozen": False}


async def unassigned_payments(settings: Settings) -> Told:
    """Tell of the money that has no owner, and whose it may be."""
    async with open_house(settings) as house, house.database.transaction() as tx:
        return {"data": await flow.unassigned(tx, house)}


async def assign_payment(settings: Settings, store_id: str, payment_id: str, customer_id: str | None) -> Told:
    """Give money without an owner to a customer, or to the store's income."""

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        return await flow.assign_payment(tx, house, store, payment_id, customer_id, operator(), now, as_operator=True)

    return await _in_house(settings, work)


async def list_alerts(settings: Settings, *, closed: bool, kind: str | None = None) -> Told:
    """Tell the alerts of every store and of none, newest first; only the open ones, unless `closed`.

    At most a thousand: `more` tells whether there are others.
    """
    filters = alerts.Filters(is_open=None if closed else True, kind=kind and _kind(kind))

    async def work(tx: Tx, _now: datetime) -> Told:
        found = await alerts.page(tx, None, filters, limit=_ALERTS + 1)
        return {"data": [_alert(alert) for alert in found[:_ALERTS]], "more": len(found) > _ALERTS}

    return await in_transaction(settings, work)


async def acknowledge_alert(settings: Settings, alert_id: str, note: str) -> Told:
    """Keep that an operator looks after an alert."""
    return await _decide_alert(settings, alert_id, Verdict.ACKNOWLEDGED, note)


async def close_alert(settings: Settings, alert_id: str, note: str, *, undo: bool) -> Told:
    """Keep an operator's decision to close an alert, with what was done by itself undone if told so."""
    return await _decide_alert(settings, alert_id, Verdict.UNDONE if undo else Verdict.CLOSED, note)


async def close_alerts(settings: Settings, kind: str, note: str) -> Told:
    """Keep an operator's decision to close every open alert of a kind, one act for each; tell how many there were."""
    filters, closed, before = alerts.Filters(is_open=True, kind=_kind(kind)), 0, None
    async with open_house(settings) as house:
        while True:
            async with house.database.transaction() as tx:
                page = await alerts.page(tx, None, filters, before)
            for alert in page:
                try:
                    await _decide(house, alert.id, Verdict.CLOSED, note)
                    closed += 1
                except Conflict:  # what is over, or somebody else's decision, has closed it meanwhile
                    continue
            if not page:
                return {"kind": kind, "closed": closed}
            before = page[-1].id


def _kind(text: str) -> str:
    if text not in (known := sorted(kind.value for kind in Kind)):
        raise Invalid(FieldFault("kind", f"{text[:40]!r} is no kind of alert; known: {', '.join(known)}"))
    return text


def share_ppm(field: str, text: str) -> int:
    """Read a share such as "0.5%" into parts per million (exact; at most half); raises `Invalid`."""
    fault = Invalid(FieldFault(field, f'{text[:20]!r} is not a share from "0%" to "50%" of at most four decimals'))
    if not text.endswith("%"):
        raise fault
    try:
        ppm = parse_amount(text[:-1], 4)
    except Invalid:
        raise fault from None
    if Fraction(ppm) > MAX_SHARE_PPM:
        raise fault
    return ppm


def operator() -> Actor:
    """Return who sits at the command line, as far as the system says: a hint, for whoever can run this is trusted."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return Actor(f"operator {name}", os.environ.get("SSH_CONNECTION", "").partition(" ")[0] or None)


async def in_transaction(settings: Settings, work: Callable[[Tx, datetime], Awaitable[T]]) -> T:
    """Do something in one transaction, and note where the audit log ends; raises `DatabaseError`."""
    clock = SystemClock()
    async with open_books(settings) as database:
        return await _done(settings, database, lambda tx: work(tx, clock.now()))


async def _in_house(settings: Settings, work: Callable[[Tx, House, datetime], Awaitable[T]]) -> T:
    async with open_house(settings) as house:
        return await _done(settings, house.database, lambda tx: work(tx, house, house.clock.now()))


async def _done(settings: Settings, database: Database, work: Callable[[Tx], Awaitable[T]]) -> T:
    try:
        told = await database.run(work)
        await anchor.advance(database.pool, settings.data_dir)
        return told
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
        raise DatabaseError(f"the database refused: {fault}; see `kassa doctor`") from fault


def _chain(house: House, network: str) -> Chain:
    chain = house.chains.get(network)
    if chain is None:
        known = ", ".join(house.chains) or "none"
        raise Invalid(FieldFault("network", f"{network!r} is not in the settings; configured: {known}"))
    return chain


def _first_addresses(chain: Chain, descriptor: str) -> Told:
    return {"first_addresses": [chain.addresses.derive(descriptor, index).text for index in range(_SHOWN_ADDRESSES)]}


def _store(store: StoreValue) -> Told:
    return {
        "id": store.id,
        "name": store.name,
        "currency": store.currency,
        "livemode": store.livemode,
        "tolerance_ppm": store.policy.tolerance_ppm,
        "spread_ppm": store.spread_ppm,
        "created_at": rfc3339(store.created_at),
    }


async def _decide_alert(settings: Settings, alert_id: str, verdict: Verdict, note: str) -> Told:
    async with open_house(settings) as house:
        return _alert(await _decide(house, alert_id, verdict, note))


async def _decide(house: House, alert_id: str, verdict: Verdict, note: str) -> Alert:
    return await house.database.run(
        lambda tx: flow.decide_alert(tx, house, None, alert_id, verdict, operator(), note, house.clock.now())
    )


def _alert(alert: Alert) -> Told:
    return alert_resource(alert) | {"detail": alert.finding.detail}


def _plain(row: Told) -> Told:
    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row.items()}
