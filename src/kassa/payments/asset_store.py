"""The decimals of every asset in which amounts are kept: what its units mean stays, whatever the settings say later."""

from collections.abc import Iterable
from typing import Any

from asyncpg import CheckViolationError
from asyncpg.pool import Pool

from kassa.core.errors import DatabaseError, SettingsError
from kassa.core.money import Asset
from kassa.db.pool import Tx

_KEEP = """
insert into assets as kept (id, decimals) values ($1, $2)
on conflict (id) do update set decimals = excluded.decimals where kept.decimals <> excluded.decimals
"""


class Decimals(dict[str, int]):
    """Decimals by asset id. Of one that is not known no amount can be written: asking for it raises `DatabaseError`."""

    # A dictionary, so that whatever writes amounts is handed nothing else; but no writer can forget an asset.
    def __missing__(self, asset: str) -> int:
        raise unknown_decimals(asset)


def unknown_decimals(asset: str) -> DatabaseError:
    """Say that amounts in an asset cannot be read."""
    return DatabaseError(
        f"the database does not say how many decimals {asset} has: name it in the settings and start Kassa once"
    )


async def keep(tx: Tx, assets: Iterable[Asset]) -> None:
    """Keep the decimals of the assets of the settings.

    Raises `SettingsError` where amounts were already written with others.
    """
    known = await decimals(tx)
    # In one order: processes whose settings name their networks in another one may start at once.
    for asset in sorted(assets, key=lambda asset: asset.id):
        if known.get(asset.id) == asset.decimals:
            continue
        try:
            async with tx.transaction():
                await tx.execute(_KEEP, asset.id, asset.decimals)
        except CheckViolationError as used:
            if used.constraint_name != "assets_in_use":
                raise
            raise SettingsError(
                f"networks.{asset.network}: {asset.symbol} has {asset.decimals} decimals in the settings, but amounts"
                f" in it were written with {known[asset.id]}: correct the settings, or give the token another symbol"
            ) from None


async def decimals(tx: "Tx | Pool[Any]") -> Decimals:
    """Return the decimals of every asset that was ever configured."""
    return Decimals({row["id"]: row["decimals"] for row in await tx.fetch("select id, decimals from assets")})
