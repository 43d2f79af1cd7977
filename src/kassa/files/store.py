"""The files of all versions that run, or ran lately: the SQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from kassa.db.pool import Tx


async def put(tx: Tx, files: Mapping[str, tuple[str, bytes]], now: datetime) -> None:
    """Keep files with their seals, by name, as those of the version that started last; all others are left from now."""
    names, texts, seals = [*files], [text for text, _ in files.values()], [seal for _, seal in files.values()]
    # In one order: several processes start at once.
    await tx.execute(
        "insert into page_files as f (name, body, seal)"
        " select * from unnest($1::text[], $2::text[], $3::bytea[]) as u (name, body, seal) order by name"
        " on conflict (name) do update set body = excluded.body, seal = excluded.seal, left_at = null"
        " where f.left_at is not null or (f.body, f.seal) is distinct from (excluded.body, excluded.seal)",
        names, texts, seals,
    )  # fmt: skip
    await tx.execute(
        "update page_files set left_at = $2 where name in (select name from page_files"
        " where left_at is null and name <> all($1::text[]) order by name for update)",
        names, now,
    )  # fmt: skip


async def forget(tx: Tx, before: datetime, limit: int) -> int:
    """Delete up to `limit` files that were left before a time; return how many."""
    done: str = await tx.execute(
        """delete from page_files where name in (
               select name from page_files where left_at < $1 limit $2 for update skip locked)""",
        before,
        limit,
    )
    return int(done.removeprefix("DELETE "))


async def get(tx: Tx, names: Sequence[str]) -> dict[str, tuple[str, bytes]]:
    """Return files with their seals, by name; unknown ones are left out."""
    rows = await tx.fetch("select name, body, seal from page_files where name = any($1::text[])", names)
    return {row["name"]: (row["body"], row["seal"]) for row in rows}
