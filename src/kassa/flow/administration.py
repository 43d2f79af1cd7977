"""What people change on stores, keys, wallets and webhooks: done and recorded in the audit log, in one transaction.

The API, the dashboard and the command line all come through here, so that nothing of it can be done unrecorded.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import kassa.alerts.store as alerts
import kassa.audit.store as audit
import kassa.stores.store as stores
import kassa.wallets.replacement_store as changes
import kassa.wallets.store as wallets
import kassa.webhooks.store as webhooks
from kassa.alerts.model import Finding, Kind, Severity
from kassa.audit.model import Actor
from kassa.audit.rules import difference
from kassa.core.errors import Conflict
from kassa.core.ids import KeyId, StoreId, WebhookId
from kassa.core.secret import Secret
from kassa.db.pool import Tx
from kassa.flow.sharing import share_addresses, tell_sharers
from kassa.house import House
from kassa.invoices.policy import NOTHING, Policy
from kassa.people.seal_store import Sealed, is_sealed, put_seal
from kassa.stores.model import SCOPES, Store
from kassa.stores.resource import store_resource
from kassa.stores.rules import checked_networks
from kassa.wallets.model import Wallet
from kassa.wallets.resource import wallet_resource
from kassa.wallets.store import Account
from kassa.webhooks.model import Change, Endpoint
from kassa.webhooks.resource import endpoint_resource


async def create_store(
    tx: Tx,
    by: Actor,
    name: str,
    currency: str,
    livemode: bool,
    now: datetime,
    *,
    policy: Policy = NOTHING,
    spread_ppm: int = 0,
) -> Store:
    """Make a store; raises `Invalid`."""
    store = await stores.create_store(tx, name, currency, livemode, now, policy=policy, spread_ppm=spread_ppm)
    await audit.record(tx, by, "store.created", store.id, now, store_id=store.id, after=_look(store))
    return store


async def change_store(
    tx: Tx, by: Actor, store: Store, name: str, policy: Policy, spread_ppm: int, version: int, now: datetime
) -> Store:
    """Change a store's name, policy or spread; raises `Invalid`, or `Conflict` when it is no longer at `version`."""
    changed = await stores.change_store(tx, store.id, name, policy, spread_ppm, version)
    before, after = difference(_look(store), _look(changed))
    await audit.record(tx, by, "store.changed", store.id, now, store_id=store.id, before=before, after=after)
    return changed


async def set_spread(tx: Tx, by: Actor, store_id: str, spread_ppm: int, now: datetime) -> None:
    """Set by how much a store's rates are lowered; raises `NotFound`."""
    store = await stores.get_store(tx, store_id)
    await stores.set_spread(tx, store_id, spread_ppm)
    before, after = {"spread_ppm": store.spread_ppm}, {"spread_ppm": spread_ppm}
    await audit.record(tx, by, "store.changed", store_id, now, store_id=store_id, before=before, after=after)


async def create_key(
    tx: Tx,
    house: House,
    by: Actor,
    store: Store,
    now: datetime,
    *,
    scopes: Iterable[str] = SCOPES,
    label: str = "",
    expires_at: datetime | None = None,
    allowed_from: Sequence[str] = (),
) -> tuple[KeyId, str]:
    """Make an API key and return its id and its text, which is told once; raises `Invalid`."""
    asked, networks = list(scopes), checked_networks(allowed_from)
    key_id, text = await stores.create_key(
        tx, store, now, scopes=asked, label=label, expires_at=expires_at, allowed_from=networks
    )
    await put_seal(tx, house.seal, Sealed.KEY, key_id)
    told = {"label": label, "scopes": asked, "expires_at": None if expires_at is None else expires_at.isoformat()}
    told |= {"allowed_from": list(networks)} if networks else {}
    await audit.record(tx, by, "api_key.created", key_id, now, store_id=store.id, after=told)
    return key_id, text


async def bind_key(
    tx: Tx,
    house: House,
    by: Actor,
    key_id: str,
    networks: Iterable[str],
    now: datetime,
    *,
    store_id: str | None = None,
    was: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Let a key, of a store if one is named, be used from these networks alone; from none: from anywhere.

    It counts as soon as a revocation would: from the next request on, and for orders that are being written. Returns
    the networks in their one form; raises `Invalid`, `NotFound`, or `Conflict` for a key that was revoked, or
    (`changed_meanwhile`) that is bound to others than it `was`, where that is said.
    """
    asked = checked_networks(networks)
    owner, before = await stores.lock_key(tx, key_id, store_id)
    if was is not None and tuple(was) != before:
        raise Conflict("the networks of this key were changed meanwhile; read them again", code="changed_meanwhile")
    if asked != before:
        was_sealed = await is_sealed(tx, house.seal, Sealed.KEY, key_id)
        await stores.bind_key(tx, key_id, asked)
        if was_sealed:  # what was typed into the database is not made good by a change of ours
            await put_seal(tx, house.seal, Sealed.KEY, key_id)
        former, given = {"allowed_from": before}, {"allowed_from": asked}
        await audit.record(tx, by, "api_key.changed", key_id, now, store_id=owner, before=former, after=given)
    return asked


async def revoke_key(tx: Tx, by: Actor, key_id: str, now: datetime, *, store_id: str | None = None) -> None:
    """End a key at once, of a store if one is named; raises `NotFound`."""
    owner = await stores.revoke_key(tx, key_id, now, store_id=store_id)
    await audit.record(tx, by, "api_key.revoked", key_id, now, store_id=owner)


async def add_wallet(
    tx: Tx, house: House, by: Actor, store_id: str, network: str, account: Account, now: datetime
) -> Wallet:
    """Give a store its wallet on a network; raises `Conflict` when it has one there.

    The newest addresses of its keychain on other networks are watched on this one from now on; the network's follower
    sees to the rest before its next block. What comes to a live store that has wallets already is paid into at once, so
    its owners hear of it until somebody closes the alert. So do those of other stores that have the same wallet.
    """
    space = house.chains[network].space
    others = await wallets.wallets_of(tx, store_id, limit=1, retired=True)
    wallet = await wallets.add_wallet(tx, store_id, network, space, account, house.seal, now)
    await share_addresses(tx, house, wallet.keychain_id, wallet.descriptor, network)
    if others and (await stores.get_store(tx, store_id)).livemode:
        await alerts.open_alert(tx, _added(wallet, by), now)
    await audit.record(tx, by, "wallet.added", wallet.id, now, store_id=store_id, after=wallet_resource(wallet))
    await tell_sharers(tx, wallet, by, now)
    return wallet


async def create_endpoint(
    tx: Tx, by: Actor, store_id: StoreId, url: str, filters: tuple[str, ...], secret: Secret, now: datetime
) -> Endpoint:
    """Add a receiver of a store's events."""
    made = await webhooks.create_endpoint(tx, store_id, url, filters, secret, now)
    await audit.record(tx, by, "webhook.created", made.id, now, store_id=store_id, after=endpoint_resource(made))
    return made


async def update_endpoint(
    tx: Tx, by: Actor, store_id: StoreId, webhook_id: WebhookId, change: Change, now: datetime
) -> Endpoint:
    """Change a receiver; raises `NotFound`, or `Conflict` as `_refuse_to_mute` does."""
    was = await webhooks.get_endpoint(tx, store_id, webhook_id)
    if change != Change(disabled=False):
        await _refuse_to_mute(tx, was)
    made = await webhooks.update_endpoint(tx, store_id, webhook_id, change, now)
    before, after = difference(endpoint_resource(was), endpoint_resource(made))
    replaced = {"signed_anew": True} if change.secret is not None else {}
    await audit.record(
        tx, by, "webhook.changed", webhook_id, now, store_id=store_id, before=before, after={**after, **replaced}
    )
    return made


async def delete_endpoint(tx: Tx, by: Actor, store_id: StoreId, webhook_id: WebhookId, now: datetime) -> None:
    """Delete a receiver; raises `NotFound`, or `Conflict` as `_refuse_to_mute` does."""
    was = await webhooks.get_endpoint(tx, store_id, webhook_id)
    await _refuse_to_mute(tx, was)
    await webhooks.delete_endpoint(tx, store_id, webhook_id, now)
    await audit.record(tx, by, "webhook.deleted", webhook_id, now, store_id=store_id, before=endpoint_resource(was))


async def rotate_webhook_secret(
    tx: Tx, by: Actor, store_id: str, secret: Secret, until: datetime, now: datetime
) -> None:
    """Sign deliveries to invoices' own receivers with a new secret; raises `NotFound`."""
    await stores.rotate_webhook_secret(tx, store_id, secret, until)
    await audit.record(tx, by, "webhook_secret.rotated", store_id, now, store_id=store_id)


async def show_webhook_secret(tx: Tx, by: Actor, store_id: str, now: datetime) -> Secret:
    """Return the secret that signs deliveries to invoices' own receivers; raises `NotFound`."""
    store = await stores.get_store(tx, store_id)
    await audit.record(tx, by, "webhook_secret.shown", store_id, now, store_id=store_id)
    return store.webhook_secret


async def _refuse_to_mute(tx: Tx, endpoint: Endpoint) -> None:
    """Raise `Conflict` (`change_under_way`) for a receiver that is to hear of the change of a wallet.

    Who steals a key that may ask for a change may often change receivers, too: nobody would hear of it in time.
    """
    if await changes.is_asked_since(tx, endpoint.store_id, endpoint.created_at):
        raise Conflict(
            "a wallet is being changed, and who listens here is to hear of it: wait until it has ended, or cancel it",
            code="change_under_way",
        )


def _added(wallet: Wallet, by: Actor) -> Finding:
    reason = (
        f"{by.name} gave the store a wallet on {wallet.network} ({wallet.fingerprint}), which is paid into from now on:"
        " if nobody of yours wanted that, replace it, and revoke what it was added with"
    )
    return Finding(
        Kind.WALLET_ADDED,
        wallet.id,
        Severity.WARNING,
        reason,
        store_id=wallet.store_id,
        about={"wallet_id": wallet.id, "fingerprint": wallet.fingerprint},
        lasting=True,
    )


def _look(store: Store) -> dict[str, Any]:  # JSON
    return store_resource(store) | {"spread_ppm": store.spread_ppm}
