"""What the gauges of the database say of a real PostgreSQL: states, restraints, books, queues, alarms."""

from collections.abc import AsyncIterator
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

import kassa.ledger.audit_store as audits
import kassa.metrics.store as gauges
import kassa.rates.store as rates
import kassa.watch.restraint_store as restraints
from kassa import flow
from kassa.alerts.model import Finding, Kind, Severity
from kassa.core.secret import Secret
from kassa.db.pool import Database
from kassa.events import store as events
from kassa.events.model import NewEvent
from kassa.house import House
from kassa.metrics.stand import Stand
from kassa.rates.model import Alarm, AlarmKind
from kassa.settings import Rates
from kassa.watch.model import Restraint
from kassa.webhooks import store as webhooks
from kassa.workers.fetch_rates import _wait_for_lease
from tests.api.conftest import follow
from tests.house import BITCOIN, RATES, add_store, build_house

Shown = dict[str, dict[tuple[str, ...], float]]


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    built = await build_house(database, tmp_path, rates=Rates(sources=("kraken",), fixed=RATES))
    await follow(built)
    yield built
    await built.marks.close()


async def shown(house: House) -> Shown:
    """Return what a first scrape shows, by name and the values of its labels."""
    stand = Stand(house, ("work",))
    await stand.refresh()
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in stand.collect()
    }


async def state(house: House) -> str:
    [found] = [labels[1] for labels, value in (await shown(house))["kassa_network_state"].items() if value]
    return found


async def test_a_network_is_shown_in_the_state_in_which_the_api_shows_it(house: House) -> None:
    pool, now = house.database.pool, house.clock.now()
    assert await state(house) == "ok"
    assert (await shown(house))["kassa_restraints_open"] == {
        (kind, BITCOIN): 0 for kind in ("held", "raised", "unoffered")
    }
    finding = Finding(Kind.CHAIN_DISAGREEMENT, BITCOIN, Severity.CRITICAL, "two chains", network=BITCOIN)
    await house.database.run(lambda tx: flow.on_findings(tx, house, (finding.kind,), [finding], now))
    alert = await pool.fetchval("select id from alerts")
    async with house.database.transaction() as tx:
        await restraints.put(tx, alert, Restraint("held", now, None, None, 0), BITCOIN)
    assert await state(house) == "halted"
    told = await shown(house)
    assert told["kassa_alerts"] == {("critical",): 1, ("warning",): 0, ("info",): 0}
    assert told["kassa_alerts_open"] == {("chain_disagreement", "critical"): 1}
    assert (await shown(house))["kassa_restraints_open"]["held", BITCOIN] == 1
    await pool.execute("update restraints set lifted_at = now()")
    await pool.execute("update networks set lease_until = now() - interval '61 seconds'")
    assert await state(house) == "unreachable"


async def test_a_reorganisation_is_shown_for_an_hour_whoever_saw_it(house: House) -> None:
    put = "insert into reorganisations (network, at, depth, height) values ($1, now() - $2::text::interval, $3, 1)"
    assert (await shown(house))["kassa_network_undone_blocks"] == {(BITCOIN,): 0}
    for age, depth in (("61 minutes", 9), ("59 minutes", 3), ("1 minute", 1)):
        await house.database.pool.execute(put, BITCOIN, age, depth)
    assert (await shown(house))["kassa_network_undone_blocks"] == {(BITCOIN,): 3}


async def test_books_that_were_never_compared_are_infinitely_old_and_networks_of_yesterday_are_not_shown(
    house: House,
) -> None:
    pool, now, every = house.database.pool, house.clock.now(), house.settings.books.reconcile_seconds
    assert (await shown(house))["kassa_reconciliation_age_seconds"] == {(BITCOIN,): inf}
    await pool.execute("insert into networks (id, chain) values ('gone', 'litecoin-regtest')")
    await pool.execute("insert into reconciliations (network, begun_at, ended_at) values ('gone', $1, $1)", now)
    assert (await shown(house))["kassa_reconciliation_age_seconds"] == {(BITCOIN,): inf}
    assert (await shown(house))["kassa_reconciliation_every_seconds"] == {(): every}
    other = replace(house, settings=replace(house.settings, books=replace(house.settings.books, reconcile_seconds=0)))
    assert (await shown(other))["kassa_reconciliation_every_seconds"] == {(): 0}


async def test_books_that_are_tried_again_and_again_in_vain_are_late(house: House) -> None:
    looked = [each for each in flow.DETECTORS if each.name == "watch"]
    every = house.settings.books.reconcile_seconds

    async def uncompared() -> int:
        async with house.database.transaction() as tx:
            found = await looked[0].look(tx, house, house.clock.now())
        return sum(each.kind is Kind.BOOKS_UNCOMPARED for each in found)

    for _ in range(4):
        async with house.database.transaction() as tx:
            assert await audits.begin(tx, BITCOIN, house.clock.now(), house.clock.now() - house.clock.now())
        assert await uncompared() == 0
        house.clock.move(every)  # type: ignore[attr-defined]
    assert await uncompared() == 1


async def test_what_is_held_for_a_disabled_endpoint_hides_nothing_that_is_due(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "_DELIVERIES", gauges._DELIVERIES.replace(str(gauges.MOST), "3"))
    pool, now = house.database.pool, house.clock.now()
    async with house.database.transaction() as tx:
        store = await add_store(tx, house)
        for number in range(2):
            url = f"https://shop{number}.example/"
            await webhooks.create_endpoint(tx, store.id, url, ("*",), Secret("whsec_x"), now)
        await events.write(tx, [NewEvent(store.id, "invoice.created", {}) for _ in range(3)], now)
        await events.number(tx)
    held = "update deliveries set due_at = null where lane = (select min(lane) from deliveries)"
    await pool.execute(held)
    await pool.execute("update deliveries set due_at = now() - interval '10 minutes' where due_at is not null")
    found = await shown(house)
    assert found["kassa_deliveries_waiting"] == {("due",): 3, ("later",): 0, ("held",): 3}
    assert found["kassa_deliveries_overdue_seconds"][()] == pytest.approx(600, abs=60)


async def test_the_alarm_of_a_source_that_is_asked_no_more_is_over(house: House) -> None:
    now = house.clock.now()
    left = [Alarm(AlarmKind.SOURCE_FAILED, name, "", "500") for name in ("kraken", "bitstamp")]
    async with house.database.transaction() as tx:
        for alarm in left:
            await rates.note_alarms(tx, (alarm.kind,), alarm.source, [alarm], now)
    assert (await shown(house))["kassa_rate_alarms_open"][("source_failed",)] == 1
    none = replace(house, settings=replace(house.settings, rates=Rates(fixed=RATES)))
    assert (await shown(none))["kassa_rate_alarms_open"][("source_failed",)] == 0
    await _wait_for_lease(house)  # as whoever asks sources first does
    async with house.database.transaction() as tx:
        assert [each.alarm for each in await rates.open_alarms(tx)] == left[:1]
