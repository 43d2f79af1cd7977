"""O10: the audit log is whole, or says where it is not."""

import asyncio
import hashlib
import json
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import kassa.alerts.store as alerts
import kassa.audit.store as audit
from kassa import flow
from kassa.alerts.model import Verdict
from kassa.audit import anchor
from kassa.audit.model import START, Actor, Break, Head
from kassa.audit.resource import link_resource
from kassa.audit.rules import NOT_KEPT, line, shown_text
from kassa.auditing import log
from kassa.core.errors import KassaError, NotFound
from kassa.core.secret import Secret
from kassa.db.pool import Database, Tx
from kassa.doctor import examine
from kassa.house import House
from kassa.settings import Settings
from kassa.workers import keep_audit
from tests.api.served import serve, until
from tests.house import BITCOIN, TPUB, add_store, build_house
from tests.locks import WAITING

BY = Actor("operator test", "192.0.2.7")


async def acts(database: Database, house: House, *kinds: str) -> None:
    for kind in kinds:
        async with database.transaction() as tx:
            await audit.record(tx, BY, kind, "thing", house.clock.now(), before={"a": 1}, after={"a": 2})


async def tamper(database: Database, statement: str, *values: Any) -> None:
    """Do what only somebody with the rights of the database's owner can do."""
    async with database.transaction() as tx:
        await tx.execute("alter table acts disable trigger user")
        await tx.execute(statement, *values)
        await tx.execute("alter table acts enable trigger user")


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> House:
    return await build_house(database, tmp_path)


@pytest.mark.parametrize("statement", ["update acts set actor = 'kassa'", "delete from acts", "truncate acts"])
async def test_o10_the_database_refuses_to_change_the_log(database: Database, house: House, statement: str) -> None:
    await acts(database, house, "thing.done")
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await database.pool.execute(statement)


async def test_o10_acts_of_many_at_once_form_one_chain(database: Database, house: House) -> None:
    await asyncio.gather(*[acts(database, house, "thing.done", "thing.undone") for _ in range(12)])
    found = await audit.verify(database.pool)
    assert isinstance(found, Head)
    assert found.number == 24


@pytest.mark.parametrize(
    ("statement", "at"),
    [
        ("update acts set actor = 'key_other' where number = 2", 2),
        ("update acts set address = null where number = 2", 2),
        ("update acts set after = '{\"a\":3}' where number = 3", 3),
        ("update acts set at = at + interval '1 microsecond' where number = 1", 1),
        ("update acts set store_id = null, subject = 'other' where number = 4", 4),
        ("delete from acts where number = 3", 3),
        ("update acts set number = number + 1 where number = 4", 4),
    ],
)
async def test_o10_an_edit_is_found_where_it_was_made(
    database: Database, house: House, statement: str, at: int
) -> None:
    await acts(database, house, "a.a", "b.b", "c.c", "d.d")
    assert await audit.verify(database.pool) == await audit.last(database.pool)
    await tamper(database, statement)
    found = await audit.verify(database.pool)
    assert isinstance(found, Break)
    assert found.number == at


async def test_o10_a_log_that_lost_its_end_is_found_by_its_anchor(
    database: Database, house: House, tmp_path: Path
) -> None:
    await acts(database, house, "a.a", "b.b", "c.c")
    whole = await anchor.advance(database.pool, tmp_path)
    await tamper(database, "delete from acts where number = 3")
    assert isinstance(await audit.verify(database.pool), Head)  # by itself, the chain cannot know
    for found in (await anchor.advance(database.pool, tmp_path), await audit.verify(database.pool, whole)):  # type: ignore[arg-type]
        assert isinstance(found, Break)
        assert found.number == 3
    assert anchor.read_anchor(tmp_path) == whole
    assert (tmp_path / anchor.FILE).stat().st_mode & 0o777 == 0o600


async def test_o10_an_anchor_that_was_deleted_is_missed(database: Database, house: House, tmp_path: Path) -> None:
    await acts(database, house, "a.a", "b.b")
    assert isinstance(await anchor.advance(database.pool, tmp_path), Head)
    (tmp_path / anchor.FILE).unlink()
    await tamper(database, "delete from acts")
    await acts(database, house, "nothing.happened")
    for _ in range(2):
        found = await anchor.advance(database.pool, tmp_path)
        assert isinstance(found, Break)
        assert found.number == 2
    assert isinstance(await anchor.advance(database.pool, tmp_path / "another machine's"), Head)
    anchor.accept(tmp_path, await audit.last(database.pool), START)
    assert isinstance(await anchor.advance(database.pool, tmp_path), Head)


async def test_o10_an_anchor_that_another_process_made_meanwhile_is_not_missed(
    database: Database, house: House, tmp_path: Path
) -> None:
    await acts(database, house, "a.a", "b.b")
    whole, file = await anchor.advance(database.pool, tmp_path), tmp_path / anchor.FILE
    held = file.rename(tmp_path / "held")
    async with database.transaction() as tx:
        await tx.execute("lock table audit_anchors")
        asked = [asyncio.create_task(look(database.pool, tmp_path)) for look in (anchor.advance, anchor.prove)]

        async def both_wait() -> bool:  # they saw no file, and ask the database
            return await database.pool.fetchval(WAITING) == 2

        await until(both_wait)
        held.rename(file)
    assert await asyncio.gather(*asked) == [whole, whole]


async def commands(settings: Settings) -> tuple[int, str, str]:
    """Return how `kassa audit verify` ends and what it says, and the verdict of `kassa doctor`."""
    file = settings.data_dir.parent / "kassa.toml"
    file.write_text(f'database_url = "{settings.database_url.reveal()}"\ndata_dir = "{settings.data_dir}"\n')
    kassa = Path(sys.executable).with_name("kassa")
    run = await asyncio.create_subprocess_exec(
        kassa, "audit", "verify", "--config", file, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await run.communicate()
    [verdict] = [each.verdict.value for each in await examine(settings) if each.check == "audit log"]
    return run.returncode or 0, told.decode(), verdict


async def test_o10_commands_miss_a_deleted_anchor_too_and_say_where_there_never_was_one(
    database: Database, database_url: str, house: House, tmp_path: Path
) -> None:
    settings = replace(house.settings, database_url=Secret(database_url), networks={}, data_dir=tmp_path / "data")
    await acts(database, house, "a.a", "b.b")
    code, words, verdict = await commands(settings)
    assert (code, "No anchor is here" in words, verdict) == (0, True, "warn")
    assert not (settings.data_dir / anchor.PLACE).exists()  # who only looks, writes nothing
    await anchor.advance(database.pool, settings.data_dir)
    code, words, verdict = await commands(settings)
    assert (code, "No anchor" in words, verdict) == (0, False, "ok")
    (settings.data_dir / anchor.FILE).unlink()
    await tamper(database, "delete from acts where number = 2")
    code, words, verdict = await commands(settings)
    assert (code, "which named act 2, is gone" in words, verdict) == (1, True, "fail")


async def test_o10_an_anchor_that_was_deleted_is_missed_also_after_a_container_was_started_anew(
    database: Database, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await acts(database, house, "a.a", "b.b")
    monkeypatch.setattr(socket, "gethostname", lambda: "5ee61f0c21d2")
    assert isinstance(await anchor.advance(database.pool, tmp_path), Head)
    monkeypatch.setattr(socket, "gethostname", lambda: "9a41cc31f00b")
    (tmp_path / anchor.FILE).unlink()
    assert isinstance(await anchor.advance(database.pool, tmp_path), Break)


async def test_o10_a_log_written_anew_with_right_hashes_is_found_by_its_anchor(
    database: Database, house: House, tmp_path: Path
) -> None:
    await acts(database, house, "key.stolen", "b.b")
    await anchor.advance(database.pool, tmp_path)
    await tamper(database, "delete from acts")
    await acts(database, house, "nothing.happened", "b.b", "c.c")
    assert isinstance(await audit.verify(database.pool), Head)
    found = await anchor.advance(database.pool, tmp_path)
    assert isinstance(found, Break)
    assert found.number == 2


@pytest.mark.parametrize(
    "statement",
    ["update acts set actor = 'person', address = null where number = 2", "delete from acts where number = 3"],
)
async def test_o10_an_edit_behind_the_anchor_is_told_by_the_watch_until_it_is_accepted(
    database: Database, database_url: str, house: House, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    settings = replace(house.settings, database_url=Secret(database_url), networks={})
    monkeypatch.setattr(keep_audit, "WHOLE_SECONDS", 0.05)
    monkeypatch.setattr(keep_audit, "BROKEN_SECONDS", 0.05)
    await acts(database, house, "a.a", "b.b", "c.c", "d.d", "e.e")
    data_dir, pool = house.settings.data_dir, database.pool
    assert (await anchor.advance(pool, data_dir)) == anchor.read_anchor(data_dir)
    watch = asyncio.create_task(keep_audit.prove_audit(house))
    try:
        await tamper(database, statement)
        assert isinstance(await anchor.advance(pool, data_dir), Head)  # the new is whole, and closes no alert

        async def is_told(reasons: str) -> bool:
            return reasons in str(await pool.fetch("select reason from alerts where closed_at is null"))

        await until(lambda: is_told("act 2 (b.b)" if "number = 2" in statement else "act 3 is missing"))
        assert [each.verdict for each in await examine(settings) if each.check == "audit log"] == ["fail"]
        await log.accept(settings, BY, "looked into")
        await until(lambda: is_told("[]"))
        assert (await log.verify(settings, None))["since"] == 5
        await tamper(database, "update acts set subject = 'other' where number = 6")
        await until(lambda: is_told("act 6"))
    finally:
        watch.cancel()


async def test_o10_each_machine_says_what_it_misses_until_it_is_accepted_there(
    database: Database, database_url: str, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_audit, "ROUND_SECONDS", 0.05)
    pool, settings = database.pool, replace(house.settings, database_url=Secret(database_url), networks={})
    machines = [replace(house, settings=replace(settings, data_dir=tmp_path / name)) for name in ("one", "two")]
    one, two = [f"{socket.gethostname()}:{each.settings.data_dir}" for each in machines]
    await acts(database, house, "a.a", "b.b", "c.c")
    for each in machines:
        await anchor.advance(pool, each.settings.data_dir)
    await tamper(database, "delete from acts where number = 3")

    async def told(*places: str) -> bool:
        reasons = [row["reason"] for row in await pool.fetch("select reason from alerts where closed_at is null")]
        return len(reasons) == len(places) and all(any(place in reason for reason in reasons) for place in places)

    async def rounds(count: int) -> None:
        for _ in range(count):
            seen = await pool.fetchval("select xmin from detectors where name = 'audit_log'")
            await until(lambda seen=seen: is_later(seen))  # type: ignore[misc]

    async def is_later(seen: Any) -> bool:
        return bool(await pool.fetchval("select xmin <> $1 from detectors where name = 'audit_log'", seen))

    watches = [asyncio.create_task(keep_audit.keep_audit(each)) for each in machines]
    try:
        await until(lambda: told(one, two))
        await log.accept(machines[0].settings, BY, "restored a backup")
        await until(lambda: told(two))
        await rounds(8)
        assert await told(two)
        # Closed by a person while it is still so, it is not told again; accepted there, and broken anew, it is.
        async with database.transaction() as tx:
            [open_] = await alerts.page(tx, None, alerts.Filters(is_open=True))
            await flow.decide_alert(tx, house, None, open_.id, Verdict.CLOSED, BY, "known", house.clock.now())
        await rounds(8)
        assert await told()
        await log.accept(machines[1].settings, BY, "restored a backup")
        await rounds(8)
        await tamper(database, "delete from acts where number = (select max(number) from acts)")
        await until(lambda: told(one, two))
    finally:
        for watch in watches:
            watch.cancel()


async def test_an_act_that_is_rolled_back_leaves_no_trace_and_no_gap(database: Database, house: House) -> None:
    async def fail(tx: Tx) -> None:
        await audit.record(tx, BY, "a.a", "x", house.clock.now())
        raise LookupError

    with pytest.raises(LookupError):
        await database.run(fail)
    await acts(database, house, "b.b")
    assert (await audit.last(database.pool)).number == 1


async def test_whoever_first_needs_the_name_of_a_folder_gives_it_one_for_all(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / str(number)
        named = await asyncio.gather(*(asyncio.to_thread(anchor.places, folder) for _ in range(4)))
        assert len(set(named)) == 1


async def test_whoever_has_the_export_can_check_it_without_us(database: Database, house: House) -> None:
    await acts(database, house, "a.a", "b.b")
    value = bytes(32)
    async for part in audit.links(database.pool):
        for told in map(link_resource, part):
            listed = [told[name] for name in ("id", "at", "store_id", "actor", "address", "kind", "subject")]
            text = json.dumps([*listed, told["before"], told["after"]], separators=(",", ":"))
            value = hashlib.sha256(value + text.encode()).digest()
            assert value.hex() == told["hash"]
    assert (await audit.verify(database.pool)) == Head(2, value)


async def test_an_export_is_for_its_owner_alone_and_takes_no_files_place(
    database: Database, house: House, database_url: str, tmp_path: Path
) -> None:
    settings = Settings(database_url=Secret(database_url), data_dir=tmp_path)
    async with database.transaction() as tx:
        store = await add_store(tx, house)
    await acts(database, house, "a.a")
    file = tmp_path / "acts.jsonl"
    await log.export(settings, 0, None, file)
    kept = file.read_bytes()
    assert json.loads(kept)["kind"] == "a.a"
    assert file.stat().st_mode & 0o077 == 0

    await acts(database, house, "b.b")
    with pytest.raises(KassaError, match="is there already"):
        await log.export(settings, 0, None, file)
    with pytest.raises(KassaError, match="cannot be written"):
        await log.export(settings, 0, None, tmp_path / "nowhere" / "acts.jsonl")
    with pytest.raises(NotFound, match="sto_nope"):
        await log.export(settings, 0, "sto_nope", tmp_path / "other.jsonl")
    await log.export(settings, 0, store.id, tmp_path / "other.jsonl")
    assert file.read_bytes() == kept
    assert (tmp_path / "other.jsonl").read_text() == ""


def test_what_is_named_like_a_secret_is_not_kept() -> None:
    shown = {"url": "u", "secret": "whsec_x", "deep": [{"Password": "p", "previous_secret_until": "t"}], "api_key": "k"}
    text = shown_text(shown)
    assert text is not None
    assert [word for word in ("whsec_x", '"p"', '"k"') if word in text] == []
    assert text.count(NOT_KEPT) == 3
    assert '"t"' in text
    assert line("a\nb\x1b[31m" + "x" * 500) == "a?b?[31m" + "x" * 192


async def test_the_api_records_who_did_what_and_shows_it_to_that_store_alone(database: Database, house: House) -> None:
    async with database.transaction() as tx:
        ours, theirs = await add_store(tx, house), await add_store(tx, house)
    async with serve(house, ours) as served:
        all_, other = served.all, await served.key(store=theirs)
        hook = (await all_.post("/v1/webhooks", {"url": "https://shop.example/hook", "events": ["*"]})).json
        await all_.send("PATCH", f"/v1/webhooks/{hook['id']}", {"disabled": True})
        await all_.send("DELETE", f"/v1/webhooks/{hook['id']}")
        await all_.send("PATCH", "/v1/store", {"version": 1, "policy": {"over": "credit"}})
        wallet = await other.post("/v1/wallets", {"network": BITCOIN, "descriptor": TPUB})
        assert wallet.status == 409  # nothing was done, so nothing is said
        told = (await all_.get("/v1/audit?limit=3")).json
        rest = (await all_.get(f"/v1/audit?cursor={told['next_cursor']}")).json
        kinds = [act["kind"] for act in (*told["data"], *rest["data"])]
        assert kinds == ["store.changed", "webhook.deleted", "webhook.changed", "webhook.created"]
        assert (told["data"][0]["before"]["policy"]["over"], told["data"][0]["after"]["policy"]["over"]) == (
            "flag",
            "credit",
        )
        assert {act["address"] for act in told["data"]} == {"127.0.0.1"}
        assert {act["actor"][:4] for act in told["data"]} == {"key_"}
        assert hook["secret"] not in str((told, rest))
        assert (await other.get("/v1/audit")).json["data"] == []
        assert (await other.get(f"/v1/audit?cursor={told['next_cursor']}")).json["data"] == []
        assert (await (await served.key("store:read")).get("/v1/audit")).status == 403
        assert [a["kind"] for a in (await all_.get("/v1/audit?kind=webhook.created")).json["data"]] == [
            "webhook.created"
        ]
    found = await audit.verify(database.pool, START)
    assert isinstance(found, Head)
    assert found.number == 4
