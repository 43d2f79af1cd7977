"""What the settings accept about rates, and how they refuse."""

from fractions import Fraction
from pathlib import Path

import pytest

from kassa.core.errors import SettingsError
from kassa.settings import Rates, Settings, read_settings

FULL = """
[rates]
sources = ["kraken", "coinbase", "ecb"]
max_age = 120
min_sources = 2
max_deviation = "1.5%"
max_jump = "30%"
max_depeg = "0.5%"
pivots = ["USD", "BTC"]
fiat_max_age = 86400
fetch_seconds = 10
keep_days = 7
[rates.urls]
kraken = "http://127.0.0.1:9000/kraken/"
"""


def read(folder: Path, text: str) -> Settings:
    path = folder / "kassa.toml"
    path.write_text(text)
    return read_settings(path, {})


def test_every_key_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, FULL).rates == Rates(
        sources=("kraken", "coinbase", "ecb"),
        max_age_seconds=120,
        min_sources=2,
        max_deviation=Fraction(15, 1000),
        max_jump=Fraction(3, 10),
        max_depeg=Fraction(5, 1000),
        pivots=("USD", "BTC"),
        fiat_max_age_seconds=86_400,
        fetch_seconds=10,
        keep_days=7,
        urls={"kraken": "http://127.0.0.1:9000/kraken"},
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('sources = ["krakn"]', "known: kraken, coinbase"),
        ('sources = ["kraken", "kraken"]', "different names"),
        ('sources = ["kraken"]', "name another, or set min_sources = 1"),
        ('sources = ["kraken", "ecb"]', "2 sources must agree"),
        ("min_sources = 0", "a whole number from 1 to 7"),
        ('max_deviation = "0%"', 'a share from "0.1%" to "50%"'),
        ('max_deviation = "51%"', 'a share from "0.1%" to "50%"'),
        ("max_deviation = 2", 'a share from "0.1%" to "50%"'),
        ('pivots = ["XXX"]', "not a known currency"),
        ('pivots = ["USD", "USD"]', "different currencies"),
        ('urls = { krakn = "http://x" }', "a table such as"),
        ('urls = { kraken = "ftp://x" }', "a table such as"),
        ('urls = { kraken = "http://u:p@x" }', "without user, query or fragment"),
        ("fetch_seconds = 0", "a whole number from 1 to 3600"),
    ],
)
def test_what_is_doubtful_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, f"[rates]\n{text}\n")
    assert said in str(caught.value)
    assert "[rates]" in str(caught.value)


@pytest.mark.parametrize("text", ['sources = ["kraken"]\nmin_sources = 1', 'sources = ["ecb"]', "sources = []"])
def test_what_can_give_a_rate_is_accepted(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, f"[rates]\n{text}\n")
