"""The files behind the seals: of several starts at one instant, on one data folder, all use the same."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kassa.wallets.seal import SECRETS, TERMS, note_sealed_since, read_or_make, sealed_since

AT_ONCE, ROUNDS = 8, 20
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_of_several_first_starts_at_once_one_makes_the_key_and_all_use_it(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        found = await asyncio.gather(*(read_or_make(tmp_path / str(number), None) for _ in range(AT_ONCE)))
        assert len({seal.fingerprint for seal, _ in found}) == 1
        assert [made for _, made in found].count(True) == 1


async def test_of_several_first_starts_at_once_the_first_ones_beginning_holds(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        starts = (
            note_sealed_since(folder, TERMS, NOW + timedelta(seconds=each), upgraded=bool(each % 2))
            for each in range(AT_ONCE)
        )
        found = {*await asyncio.gather(*starts)}
        assert found == {await note_sealed_since(folder, TERMS, NOW + timedelta(days=1), upgraded=True)}
        assert await sealed_since(folder, SECRETS) is None
