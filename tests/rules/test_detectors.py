"""What each detector calls wrong, at its bounds. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kassa.alerts import chain_rules, money_rules, service_rules
from kassa.alerts.model import Finding, Kind, Severity
from kassa.alerts.seen import (
    Beat,
    Compared,
    Dust,
    Followed,
    Held,
    NodeSeen,
    Ordered,
    Overtaken,
    Queue,
    Reorganised,
    Reversed,
    Sending,
    Unowned,
    UnpaidRun,
    Volume,
)  # fmt: skip
from kassa.core.money import Asset
from kassa.rates.model import Alarm, AlarmKind
from kassa.watch.model import Opinion

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUIET = Sending(None, None, {})


def ago(**parts: float) -> datetime:
    return NOW - timedelta(**parts)


def kinds(found: Sequence[Finding]) -> list[Kind]:
    return [each.kind for each in found]


def done(found: Sequence[Finding]) -> list[tuple[str, str, int]]:
    return [(action.deed.value, action.target, action.blocks) for each in found for action in each.actions]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Followed("btc", "ok", "", True, False, NOW), []),
        (Followed("btc", "stalled", "", True, False, NOW), [Kind.NODE_STALLED]),
        (Followed("btc", "unreachable", "", True, False, NOW), [Kind.NODE_UNREACHABLE]),
        (Followed("btc", "unreachable", "", True, True, NOW), [Kind.NODE_REFUSED]),
        (Followed("btc", "ok", "", False, False, NOW), [Kind.NOT_FOLLOWED]),
        (Followed("btc", "syncing", "", True, False, ago(minutes=11)), [Kind.NODE_SYNCING]),
        (Followed("btc", "syncing", "", True, False, ago(minutes=9)), []),
        (Followed("btc", "syncing", "", True, False, ago(seconds=61), below=True), [Kind.NODE_SYNCING]),
        (Followed("btc", "syncing", "", True, False, ago(seconds=59), below=True), []),
        (Followed("btc", "halted", "", True, False, NOW), []),  # has an alert of its own
        (Followed("ltc", "stalled", "", True, False, NOW), [Kind.NOT_FOLLOWED]),
    ],
)
def test_f4_how_a_network_is_followed(seen: Followed, expected: list[Kind]) -> None:
    assert kinds(chain_rules.on_nodes([seen], ["btc"], NOW)) == expected


@pytest.mark.parametrize(
    ("depth", "block_seconds", "severity", "blocks"),
    [
        (1, 600, None, 0),
        (2, 600, Severity.WARNING, 4),
        (3, 600, Severity.WARNING, 6),
        (6, 600, Severity.CRITICAL, 12),
        (11, 2, None, 0),  # half a minute of a fast chain
        (12, 2, Severity.CRITICAL, 24),
    ],
)
def test_f3_the_deeper_the_worse_and_twice_as_much_is_asked_for(
    depth: int, block_seconds: int, severity: Severity | None, blocks: int
) -> None:
    found = chain_rules.on_reorganisations([Reorganised("n", depth, 1)], {"n": [1, 6]}, {"n": block_seconds})
    assert [each.severity for each in found] == ([] if severity is None else [severity])
    assert done(found) == ([] if severity is None else [("raised", "n", blocks)])


@pytest.mark.parametrize(
    ("opinion", "judged", "expected"),
    [
        (Opinion("n", NOW, our_height=9, their_height=9, height=8, ours="a", theirs="a"), 5, []),
        (Opinion("n", NOW, our_height=9, their_height=9, height=8, ours="a", theirs="b"), 5, [Kind.CHAIN_DISAGREEMENT]),
        (Opinion("n", NOW, our_height=9, their_height=6, height=5, ours="a", theirs="a"), 5, []),
        (Opinion("n", NOW, our_height=9, their_height=5, height=4, ours="a", theirs="a"), 5, [Kind.SECOND_NODE_BEHIND]),
        (Opinion("n", NOW, our_height=9, their_height=12, height=8, ours="a", theirs="a"), 5, []),
        (Opinion("n", NOW, our_height=9, their_height=13, height=8, ours="a", theirs="a"), 5, [Kind.NODE_BEHIND]),
        (Opinion("n", NOW, their_height=13), 2, []),
        (Opinion("n", NOW), 2, []),
        (Opinion("n", NOW, "gone", silent_since=ago(seconds=9)), 2, []),
        (Opinion("n", NOW, "gone", silent_since=ago(seconds=10)), 2, [Kind.SECOND_NODE_SILENT]),
        (Opinion("n", NOW, "other", refused=True), 2, [Kind.SECOND_NODE_REFUSED]),
    ],
)
def test_f4_what_a_second_node_says(opinion: Opinion, judged: int, expected: list[Kind]) -> None:
    known, found = chain_rules.on_opinion(opinion, poll_seconds=5, block_seconds=600, now=NOW)
    assert (len(known), kinds(found)) == (judged, expected)
    # What says nothing of the chain ends no doubt about it.
    assert (Kind.CHAIN_DISAGREEMENT in known) is (opinion.height is not None)


@pytest.mark.parametrize(("since", "lasting"), [(0, False), (4, False), (5, True)])
def test_f4_two_chains_at_one_look_need_no_person(since: int, lasting: bool) -> None:
    opinion = Opinion("n", NOW, our_height=9, their_height=9, height=8, ours="a", theirs="b")
    seen = replace(opinion, parted_since=ago(seconds=since))
    _, [found] = chain_rules.on_opinion(seen, poll_seconds=5, block_seconds=600, now=NOW)
    assert (found.lasting, done([found])) == (lasting, [("held", "n", 0)])


def test_f3_a_settled_payment_that_was_taken_back_makes_its_store_wait_longer() -> None:
    seen = Reversed("pay_1", "sto_1", "inv_1", None, "n", "BTC@n", 3)
    found = money_rules.on_reversed([seen, replace(seen, payment_id="pay_2", required=0)])
    assert [(each.subject, each.store_id, each.severity) for each in found] == [
        ("pay_1", "sto_1", Severity.CRITICAL),
        ("pay_2", "sto_1", Severity.CRITICAL),
    ]
    assert done(found) == [("raised", "n", 6), ("raised", "n", 2)]


@pytest.mark.parametrize(
    ("payer", "count", "expected"),
    [
        (None, 2, []), (None, 3, [Kind.DOUBLE_SPENDS]),
        ("cus_1", 1, []), ("cus_1", 2, [Kind.DOUBLE_SPENDING_PAYER]), ("coin x:0", 2, [Kind.DOUBLE_SPENDING_PAYER]),
    ],
)  # fmt: skip
def test_f3_double_spends_of_a_store_and_of_one_payer(payer: str | None, count: int, expected: list[Kind]) -> None:
    found = money_rules.on_overtaken([Overtaken("sto_1", "n", payer, count)], {"n": 6})
    assert kinds(found) == expected
    assert done(found) == ([("raised", "n", 6)] if expected else [])


def test_b8_floods_of_dust_and_of_nothing() -> None:
    found = money_rules.on_dust([Dust("sto_1", 20), Dust("sto_2", 19)], {"a": 20, "b": 19})
    assert [(each.kind, each.subject) for each in found] == [(Kind.DUST_FLOOD, "sto_1"), (Kind.EMPTY_TRANSFERS, "a")]


def test_f11_money_without_an_owner_is_listed_with_whose_it_may_be() -> None:
    seen = [Unowned(f"pay_{n}", "n", "BTC@n", f"bc1{n}", ago(hours=2), ("sto_1", "sto_2")) for n in range(30)]
    told = money_rules.on_unowned([*seen, Unowned("pay_x", "m", "BTC@m", "bc1x", ago(hours=2), ())])
    assert [(each.subject, each.store_id, each.network, each.measure) for each in told] == [
        ("n/sto_1", "sto_1", "n", 30), ("n/sto_2", "sto_2", "n", 30), ("m", None, None, 1),
    ]  # fmt: skip
    assert {len(each.about["payments"]) for each in told[:2]} == {20}
    assert "sto_2" not in str(told[0])  # no store is named to another


@pytest.mark.parametrize(
    ("count", "largest", "before", "expected"),
    [
        (1, 999, (20, 100, 2), []),
        (1, 1000, (20, 100, 2), [Kind.AMOUNT_UNUSUAL]),
        (1, 1000, (19, 100, 2), []),  # no history to be compared with
        (20, 100, (20, 100, 4), [Kind.PAYMENTS_UNUSUAL]),
        (19, 100, (20, 100, 1), []),
        (99, 100, (500, 100, 20), []),
        (100, 10**30, (500, 100, 20), [Kind.AMOUNT_UNUSUAL, Kind.PAYMENTS_UNUSUAL]),
    ],
)
def test_f2_an_hour_beside_the_thirty_days_before(
    count: int, largest: int, before: tuple[int, int, int], expected: list[Kind]
) -> None:
    found = money_rules.on_volumes([Volume("sto_1", "EUR", count, largest, *before)])
    assert kinds(found) == expected


def test_f2_books_that_owe_more_than_they_hold_hold_the_asset_until_a_person_looks() -> None:
    found = money_rules.on_held([Held("BTC@n", 100, 100), Held("LTC@n", 99, 100)])
    assert done(found) == [("held", "LTC@n", 0)]
    assert [(each.lasting, each.measure) for each in found] == [(True, 1)]
    [grown] = money_rules.on_held([Held("LTC@n", 0, 10**20)])
    assert grown.measure == 10**20  # more than before: told again, whatever was decided


def test_another_fork_is_another_cause_than_the_one_that_a_person_decided_about() -> None:
    told = []
    for parted_at in (100, 100, 90):
        opinion = Opinion("n", NOW, our_height=120, their_height=120, height=119, ours="a", theirs="b")
        _, [found] = chain_rules.on_opinion(replace(opinion, parted_at=parted_at), 5, 600, NOW)
        told.append(found.subject)
    assert told == ["n/100", "n/100", "n/90"]


@pytest.mark.parametrize(
    ("made", "paid", "day_before", "expected"),
    [(99, 0, 0, 0), (100, 0, 0, 1), (100, 4, 0, 1), (100, 5, 0, 0), (100, 0, 1440, 1), (100, 0, 1441, 0)],
)
def test_orders_that_nobody_pays(made: int, paid: int, day_before: int, expected: int) -> None:
    assert len(service_rules.on_orders([Ordered("sto_1", made, paid, day_before)])) == expected


@pytest.mark.parametrize(("bound", "told_at"), [(0, 500), (1_000, 500), (100, 50), (1, 1)])
def test_e43_a_run_of_unpaid_addresses_is_told_before_it_comes_to_its_bound(bound: int, told_at: int) -> None:
    seen = [UnpaidRun(f"wal_{length}", "sto_1", "n", length) for length in (told_at - 1, told_at)]
    [told] = service_rules.on_runs(seen, {"n": bound})
    assert (told.subject, str(bound) in told.detail) == (f"wal_{told_at}", bound > 0)


def test_f12_every_alarm_about_rates_is_an_alert_of_the_operator() -> None:
    found = service_rules.on_rates([Alarm(kind, "kraken", "BTC/EUR", "why") for kind in AlarmKind], ())
    assert dict(zip(AlarmKind, kinds(found), strict=True)) == {
        "source_failed": Kind.RATE_SOURCE_FAILED, "answer_refused": Kind.RATE_SOURCE_FAILED,
        "quote_dropped": Kind.RATE_OUTLIER, "rate_ageing": Kind.RATE_AGEING, "rate_jumped": Kind.RATE_JUMPED,
        "depegged": Kind.RATE_DEPEGGED, "no_rate": Kind.RATE_MISSING,
    }  # fmt: skip
    assert len({each.subject for each in found}) == len(AlarmKind)
    assert all(each.store_id is None and each.network is None for each in found)


def test_f12_a_stable_coin_that_is_none_is_offered_no_more() -> None:
    assets = [Asset("USDC", "base", 6), Asset("USDC", "ethereum", 6), Asset("ETH", "base", 18)]
    fallen, dropped = Alarm(AlarmKind.DEPEGGED, "", "USDC/USD", "0.9"), Alarm(AlarmKind.NO_RATE, "", "ETH/USD", "few")
    found = service_rules.on_rates([fallen, dropped], assets)
    assert done(found) == [("unoffered", "USDC@base", 0), ("unoffered", "USDC@ethereum", 0)]


def test_f14_what_waits_what_nobody_sends_and_what_was_given_up() -> None:
    failing = Queue("sto_1", "whk_1", 3, ago(minutes=20), 4)
    found = service_rules.on_queues([failing, replace(failing, attempts=3)], QUIET, NOW)
    assert [(each.kind, each.subject) for each in found] == [(Kind.RECEIVER_FAILING, "whk_1")]
    for sending, expected in (
        (Sending(ago(minutes=6), None, {}), [Kind.NOBODY_SENDS]),
        (Sending(None, ago(minutes=6), {}), [Kind.NOBODY_SENDS]),
        (Sending(ago(minutes=4), ago(minutes=4), {}), []),
        (Sending(None, None, {"sto_1": 2}), [Kind.DELIVERIES_GIVEN_UP]),
    ):
        assert kinds(service_rules.on_queues([], sending, NOW)) == expected


def test_f16_a_detector_that_does_not_look_is_named() -> None:
    expected = dict.fromkeys(("fresh", "late", "never", "new", "tried"), 10)
    beats = {
        "fresh": Beat("fresh", NOW, None, ago(seconds=90), 0),
        "late": Beat("late", NOW, None, ago(seconds=91), 0),  # however often it was begun
        "new": Beat("new", ago(days=9), ago(seconds=5), None, None),
        "tried": Beat("tried", NOW, ago(seconds=91), None, None),
    }
    assert service_rules.silent(expected, beats, NOW) == ["late", "never", "tried"]
    for ahead, silent in ((60, []), (61, ["fresh"])):  # by another machine's clock, or one that was set back since
        assert service_rules.silent(
            {"fresh": 10}, {"fresh": Beat("fresh", NOW, None, ago(seconds=-ahead), 0)}, NOW
        ) == (silent)
    assert service_rules.silent(expected, beats, NOW, strictly=True) == ["late", "never", "new", "tried"]
    compared = [
        Compared("a", NOW, ago(hours=4)),
        Compared("b", NOW, ago(hours=3)),
        Compared("c", ago(hours=4), None),
        Compared("d", NOW, None),
    ]
    found = service_rules.on_watch({}, {}, compared, 3600, NOW)
    assert [each.subject for each in found] == ["a", "c"]
    assert service_rules.on_watch({}, {}, compared, 0, NOW) == []


def test_a38_whoever_was_away_asks_what_is_final_before_finality_stands_still() -> None:
    away = NodeSeen("ethereum", ago(), ago(hours=2), None, None, None, ago(hours=2))  # and is reading
    read = replace(away, observed_at=ago(seconds=5))

    assert kinds(chain_rules.on_shown([away], {"ethereum"}, {"ethereum": 12}, NOW)) == []
    assert kinds(chain_rules.on_shown([read], {"ethereum"}, {"ethereum": 12}, NOW)) == [Kind.FINALITY_STALLED]


@pytest.mark.parametrize("observed", [0, 61, 299, 600])
def test_a38_who_asks_every_five_minutes_is_not_away_meanwhile(observed: int) -> None:
    slow = NodeSeen("ethereum", ago(), ago(hours=2), None, None, None, ago(seconds=observed))
    assert kinds(chain_rules.on_shown([slow], {"ethereum"}, {"ethereum": 300}, NOW)) == [Kind.FINALITY_STALLED]


@pytest.mark.parametrize(
    ("warning", "outdated", "severity"),
    [("", False, None), ("Unknown new rules activated", False, Severity.WARNING), ("", True, Severity.CRITICAL)],
)
def test_f4_what_a_node_says_of_itself(warning: str, outdated: bool, severity: Severity | None) -> None:
    seen = NodeSeen("btc", ago(), None, None, None, None, ago(), warning, outdated)
    found = chain_rules.on_shown([seen], (), {"btc": 5}, NOW)
    assert [(each.kind, each.severity) for each in found] == ([(Kind.NODE_WARNS, severity)] if severity else [])
    assert all(warning not in each.reason for each in found if warning)  # for the operator's eyes
