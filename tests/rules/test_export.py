"""Cells that a spreadsheet opens: E26. Names that beancount reads."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kassa.ledger.beancount import account_name, commodity_name
from kassa.ledger.text import cell

FORMULAS = (
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＋1", "－1", "＠SUM(A1)", " =1", "\u3000＝1",
    "=cmd|' /C calc'!A0", '=HYPERLINK("http://evil","x")', "'=1",
)  # fmt: skip


def read(text: str) -> str:
    rows = list(csv.reader(io.StringIO(text + "\r\n", newline="")))
    assert len(rows) == 1
    return "".join(rows[0])


@pytest.mark.parametrize("text", FORMULAS)
def test_e26_a_cell_that_may_be_a_formula_is_made_a_text_and_can_be_given_back(text: str) -> None:
    shown = read(cell(text))
    assert shown[0] == "'"
    assert shown[1:] == text


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1))
def test_e26_every_text_comes_back(text: str) -> None:
    shown = read(cell(text))
    assert shown[0] not in "=+-@\t\r\n＝＋－＠"
    assert shown.removeprefix("'") == text


def test_e26_nothing_is_an_empty_cell() -> None:
    assert (cell(None), cell("")) == ("", "")


def test_accounts_and_commodities_have_names_that_beancount_reads() -> None:
    assert account_name("wallet:bitcoin-regtest") == "Assets:Wallet:Bitcoin-regtest"
    assert account_name("customer:cus_01ab") == "Liabilities:Customers:Cus-01ab"
    assert account_name('sales"\n2026') == "Equity:Other:Sales--2026"
    assert commodity_name("USDC@base") == "USDC.BASE"
