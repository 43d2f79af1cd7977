"""What a look at the chain says about payments."""

from hypothesis import given
from hypothesis import strategies as st

from kassa.core.facts import Block, BlockRef, Input, Pending, Transaction, Transfer, TransferKey, Unseen
from kassa.core.ids import PaymentId
from kassa.payments.rules import (
    Conflict,
    Found,
    Internal,
    Unconfirmed,
    Victim,
    Void,
    attributed,
    conflicts,
    first_seen,
    look,
    named,
    voided,
)  # fmt: skip
from tests.rules.build import at

TIP = BlockRef(1, "a1")


def transaction(txid: str, *spends: str, replaceable: bool = False) -> Transaction:
    return Transaction(txid, (), tuple(Input(outpoint, 0) for outpoint in spends), replaceable)


def pending(*txids: str, complete: bool = True) -> Pending:
    return Pending(TIP, complete, tuple(transaction(txid) for txid in txids))


def test_what_was_seen_just_now_was_first_seen_now() -> None:
    assert first_seen(None, at(5), at(10)) == at(10)


def test_a_claim_fills_only_the_time_in_which_nobody_looked() -> None:
    assert first_seen(at(7), at(5), at(10)) == at(7)
    assert first_seen(at(3), at(5), at(10)) == at(5)
    assert first_seen(at(99), at(5), at(10)) == at(10)
    assert first_seen(at(3), None, at(10)) == at(3)


def test_a_look_ahead_of_the_clock_does_not_move_it() -> None:
    assert first_seen(at(3), at(12), at(10)) == at(10)


def test_absence_from_a_complete_look_is_noted_once() -> None:
    known = [Unconfirmed("a", False, None, None), Unconfirmed("b", False, at(1), None)]
    assert look(known, pending()).missing == {"a"}


def test_absence_from_a_partial_look_says_nothing() -> None:
    assert look([Unconfirmed("a", False, None, None)], pending(complete=False)).missing == frozenset()


def test_a_replaced_transaction_is_not_also_missing() -> None:
    assert look([Unconfirmed("a", False, None, "by")], pending()).missing == frozenset()


def test_a_transaction_that_is_back_is_seen_again() -> None:
    known = [
        Unconfirmed("a", False, at(1), None),
        Unconfirmed("b", False, None, "c"),
        Unconfirmed("d", False, None, None),
    ]
    assert look(known, pending("a", "b", "d")).seen == {"a", "b"}


def test_what_a_block_has_overtaken_is_not_back_by_an_older_look() -> None:
    known = [Unconfirmed("a", False, None, "b", 7), Unconfirmed("c", False, at(1), "d", 7)]
    assert look(known, pending("a", "c")).seen == frozenset()


def test_a_change_of_replaceability_is_noticed() -> None:
    seen = Pending(TIP, True, (transaction("a", replaceable=True),))
    assert look([Unconfirmed("a", False, None, None)], seen).seen == {"a"}


def test_another_spend_of_an_input_is_a_conflict_and_ones_own_is_not() -> None:
    spenders = [(transaction("new", "x:0"), None), (transaction("old", "x:0"), 7)]
    assert conflicts(spenders, {"x:0": [Victim("old", "old")]}) == [Conflict("old", "new", None)]


def test_another_spend_of_what_an_ancestor_spends_is_a_conflict_and_the_ancestor_is_not() -> None:
    spenders = [(transaction("new", "x:0"), None), (transaction("parent", "x:0"), 7)]
    assert conflicts(spenders, {"x:0": [Victim("ours", "parent")]}) == [Conflict("ours", "new", None)]


def test_one_transaction_may_overtake_several() -> None:
    found = conflicts([(transaction("new", "x:0", "y:1"), 7)], {"x:0": [Victim("a", "a")], "y:1": [Victim("b", "b")]})
    assert found == [Conflict("a", "new", 7), Conflict("b", "new", 7)]


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")), st.booleans())
def test_a_transaction_is_never_both_seen_and_missing(known: set[str], present: set[str], complete: bool) -> None:
    notes = [Unconfirmed(txid, False, at(1) if txid < "c" else None, None) for txid in sorted(known)]
    said = look(notes, pending(*present, complete=complete))
    assert not said.seen & said.missing
    assert said.seen <= present
    assert said.missing <= known - present


def note(block: str, units: int) -> Internal:
    return Internal(PaymentId(f"pay_{block}"), block, "balance:0x01", b"\1", units)


def grown(height: int, units: int, position: str = "balance:0x01", txid: str | None = None) -> Found:
    """An address's growth in a block of another branch than that of the notes."""
    ref = BlockRef(height, f"new{height}")
    transfer = Transfer(TransferKey("net", txid or ref.hash, position), b"\1", "ETH@net", units)
    return Found(transfer, transaction(txid or ref.hash), ref, at(0))


def told(found: list[Found], *notes: Internal) -> tuple[dict[str, str], list[str]]:
    """What each payment is called now, and what is void, by the blocks in which it was."""
    names, voids = named(found, notes)
    return {id_: key.txid for id_, key in names.items()}, [each.txid for each in voids]


def test_two_balances_of_an_address_are_both_found_again_in_whatever_order() -> None:
    five, seven = note("old1", 5), note("old2", 7)
    assert told([grown(1, 5), grown(2, 7)], five, seven) == ({"pay_old1": "new1", "pay_old2": "new2"}, [])
    assert told([grown(1, 7), grown(2, 5)], five, seven) == ({"pay_old1": "new2", "pay_old2": "new1"}, [])
    assert told([grown(1, 5)], five, seven) == ({"pay_old1": "new1"}, [])  # the other may be in a later block
    assert told([grown(1, 5)], five, note("old2", 5)) == ({"pay_old1": "new1"}, [])


def test_a_payment_that_bears_its_name_again_is_taken_by_no_amount() -> None:
    first, second = note("old1", 5), note("new2", 5)
    assert told([grown(1, 5), grown(2, 5)], first, second) == ({"pay_old1": "new1"}, [])


def test_what_comes_again_in_other_parts_is_void() -> None:
    five, seven = note("old1", 5), note("old2", 7)
    assert told([grown(1, 12)], five, seven) == ({}, ["old1", "old2"])
    assert told([grown(1, 5), grown(2, 6)], five, seven) == ({"pay_old1": "new1"}, ["old2"])
    calls = [grown(1, 2, "call:0", "tx1"), grown(1, 3, "call:1", "tx1")]
    assert told(calls, five) == ({}, ["old1"])
    assert told([grown(1, 5, "call:0", "tx1")], five) == ({"pay_old1": "tx1"}, [])


def test_a_transfer_that_a_balance_leaves_out_says_nothing_of_it() -> None:
    assert told([grown(1, 2, "value", "tx1")], note("old1", 5)) == ({}, [])


def call(txid: str, place: int, units: int) -> Internal:
    return Internal(PaymentId(f"pay_{txid}{place}"), txid, f"call:{place}", b"\1", units)


def parts(found: Found, *called: Internal, beside: tuple[str, ...] = ("t",)) -> list[tuple[str, str, int]]:
    """What a balance's growth is made of, where the block holds these transactions too."""
    assert found.block is not None
    block = Block(found.block, "", at(0), (found.transaction, *[transaction(txid, f"{txid}:0") for txid in beside]))
    seen = [(f.transfer.key, f.transaction.txid, f.transfer.units) for f in attributed([found], called, [block])]
    assert all(key.txid == txid for key, txid, _ in seen)
    return [(key.txid, key.position.partition("0x")[0], units) for key, _, units in seen]


def test_what_a_balance_grew_by_is_what_was_known_by_calls_of_transactions_in_the_block_and_the_rest() -> None:
    assert parts(grown(1, 5), call("t", 2, 5)) == [("t", "call:2", 5)]
    assert parts(grown(1, 9), call("t", 2, 5), call("t", 3, 1)) == [
        ("t", "call:2", 5),
        ("t", "call:3", 1),
        ("new1", "balance:", 3),
    ]
    unnamed = [("new1", "balance:", 5)]
    assert parts(grown(1, 5)) == unnamed
    assert parts(grown(1, 5), call("t", 2, 6)) == unnamed  # it paid otherwise here
    assert parts(grown(1, 5), call("t", 2, 5), beside=("u",)) == unnamed  # it may be in a later block
    elsewhere = Internal(PaymentId("pay_x"), "t", "call:2", b"other", 5)
    assert parts(grown(1, 5), elsewhere) == unnamed


def test_a_block_whose_calls_could_not_be_seen_whole_voids_none() -> None:
    for unseen, calls in ((None, True), (Unseen.UNTRACED, True), (Unseen.STATE_GONE, False), (Unseen.CROWDED, False)):
        block = Block(TIP, "", at(0), (transaction("t"),), unseen=unseen)
        assert voided([block]) == [Void("t", None, TIP.height, calls)]
