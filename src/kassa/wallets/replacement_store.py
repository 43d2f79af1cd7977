"""Changes of wallets: the SQL."""

from datetime import datetime
from typing import Any

from asyncpg import Record, UniqueViolationError
from asyncpg.pool import Pool

from kassa.core.errors import Conflict, NotFound
from kassa.db.pool import Tx
from kassa.wallets.change import Change

_COLUMNS = (
    "id, store_id, wallet_id, network, space, descriptor, fingerprint, asked_at, asked_by, asked_seal, confirmed_at,"
    " confirmed_by, due_at, ended_at, ended_as, confirmed_seal"
)


async def put(tx: Tx, change: Change) -> None:
    """Write what was asked for; raises `Conflict` when another change of this wallet is under way."""
    try:
        await tx.execute(
            "insert into wallet_changes (id, store_id, wallet_id, network, space, descriptor, fingerprint, asked_at,"
            " asked_by, asked_seal) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            change.id, change.store_id, change.wallet_id, change.network, change.space, change.descriptor,
            change.fingerprint, change.asked_at, change.asked_by, change.asked_seal,
        )  # fmt: skip
    except UniqueViolationError as repeat:
        if repeat.constraint_name != "wallet_changes_open":
            raise
        raise Conflict("this wallet is being changed already; cancel that first", code="change_under_way") from repeat


async def hold(tx: Tx, store_id: str | None, change_id: str) -> Change:
    """Lock and return a change of a store (None: of any, for the operator); raises `NotFound`."""
    row = await tx.fetchrow(
        f"select {_COLUMNS} from wallet_changes where id = $1 and ($2::text is null or store_id = $2) for update",
        change_id,
        store_id,
    )
    if row is None:
        raise NotFound(f"there is no change {change_id!r} of a wallet; see `kassa alert list`")
    return _change(row)


async def page(tx: "Tx | Pool[Any]", store_id: str, before: str | None, limit: int) -> list[Change]:
    """Return a store's changes, newest first, those before an id."""
    rows = await tx.fetch(
        f"select {_COLUMNS} from wallet_changes where store_id = $1 and ($2::text is null or id < $2)"
        " order by id desc limit $3",
        store_id,
        before,
        limit,
    )
    return [_change(row) for row in rows]


async def confirm(tx: Tx, change: Change, by: str, now: datetime, due_at: datetime, seal: bytes) -> Change:
    """Write that a change that is held was confirmed."""
    row = await tx.fetchrow(
        "update wallet_changes set confirmed_at = $2, confirmed_by = $3, due_at = $4, confirmed_seal = $5 where id = $1"
        f" returning {_COLUMNS}",
        change.id, now, by, due_at, seal,
    )  # fmt: skip
    return _change(row)


async def end(tx: Tx, change: Change, ended_as: str, now: datetime) -> Change:
    """Write that a change that is held was applied or cancelled: without its seal the database cannot revive it."""
    row = await tx.fetchrow(
        "update wallet_changes set ended_at = $2, ended_as = $3, confirmed_seal = null where id = $1"
        f" returning {_COLUMNS}",
        change.id,
        now,
        ended_as,
    )
    return _change(row)


async def due(tx: Tx, now: datetime) -> list[Change]:
    """Lock and return the changes whose delay is over, oldest first, but those that somebody else holds."""
    rows = await tx.fetch(
        f"select {_COLUMNS} from wallet_changes where ended_at is null and due_at <= $1"
        " order by due_at, id for update skip locked",
        now,
    )
    return [_change(row) for row in rows]


async def under_way(tx: Tx) -> list[str]:
    """Return the ids of every store's changes that have not ended."""
    return [row["id"] for row in await tx.fetch("select id from wallet_changes where ended_at is null order by id")]


async def is_asked_since(tx: Tx, store_id: str, moment: datetime) -> bool:
    """Tell whether the change of a wallet of a store is under way that was asked for since a moment."""
    return bool(
        await tx.fetchval(
            "select exists (select from wallet_changes where store_id = $1 and ended_at is null and asked_at >= $2)",
            store_id,
            moment,
        )
    )


async def retire(tx: Tx, wallet_id: str, now: datetime) -> None:
    """End a wallet: it issues nothing more. Without its seal it cannot be brought back by the database alone."""
    await tx.execute(
        "update wallets set retired_at = $2, seal = null where id = $1 and retired_at is null", wallet_id, now
    )


def _change(row: Record) -> Change:
    return Change(**row)
