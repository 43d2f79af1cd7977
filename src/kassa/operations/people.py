"""What an operator does about who may sign in."""

from datetime import datetime

import kassa.people.store as people
import kassa.stores.store as stores
from kassa.core.clock import rfc3339
from kassa.core.errors import NotFound
from kassa.core.ids import StoreId
from kassa.db.pool import Tx
from kassa.house import House
from kassa.operations.acting import Told, in_house, operator
from kassa.people import membership
from kassa.people.model import Role
from kassa.people.rules import INVITED, checked_email, checked_role
from kassa.settings import Settings


async def invite_user(settings: Settings, store_id: str, email: str, role: str) -> Told:
    """Make a link that lets somebody into a store's dashboard, once."""
    address, place = checked_email(email), checked_role(role)

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        store = await stores.get_store(tx, store_id)
        return await _link(tx, house, address, (store.id, place), now)

    return await in_house(settings, work)


async def link_user(settings: Settings, email: str, *, lost: bool = False) -> Told:
    """Make a link that signs a known person in, once, without password or code: for who has lost them.

    `lost`: their password, app, recovery codes, passkeys and sessions are void once it is used; they set up new ones.
    """
    address = checked_email(email)

    async def work(tx: Tx, house: House, now: datetime) -> Told:
        if await people.find(tx, address) is None:
            raise NotFound(f"nobody signs in with {address!r}; see `kassa user invite --store sto_… --email …`")
        return await _link(tx, house, address, None, now, voids=lost)

    return await in_house(settings, work)


async def _link(
    tx: Tx, house: House, email: str, place: tuple[StoreId, Role] | None, now: datetime, *, voids: bool = False
) -> Told:
    token = await membership.invite(tx, house.seal, operator(), email, place, now, voids=voids)
    link = f"{house.settings.http.public_url}/dashboard/invitation/{token}"
    return {"email": email, "link": link, "expires_at": rfc3339(now + INVITED)}
