"""QR codes as a stranger's program reads them: of every length and network, also from a scratched or dim screen."""

from collections.abc import Iterator

import numpy as np
import pytest
import zxingcpp

from kassa.chains.bitcoin.networks import NETWORKS as BITCOINS
from kassa.chains.evm.networks import NETWORKS as ETHEREUMS
from kassa.chains.registry import FAMILIES
from kassa.checkout.symbols import Bytes, modules_of
from kassa.core.money import Token
from tests.house import TPUB, XPUB

PIXELS = 3  # of a module


def picture(modules: Bytes, around: int = 4, dark: int = 0, light: int = 255) -> Bytes:
    drawn = np.kron(np.pad(modules, around), np.ones((PIXELS, PIXELS), np.uint8))
    return np.where(drawn == 1, np.uint8(dark), np.uint8(light))


def read(image: Bytes) -> tuple[bytes, str]:
    (found,) = zxingcpp.read_barcodes(image, formats=zxingcpp.BarcodeFormat.QRCode)
    return found.bytes, found.ec_level


def text_of(length: int) -> bytes:
    return bytes(33 + (place * place * 7 + place) % 90 for place in range(length))


# Each version's fullest and the next one's emptiest up to the longest links, then some up to the largest code there is.
LENGTHS = [1, 14, 15, 26, 27, 42, 43, 62, 63, 84, 85, 106, 107, 122, 123, 152, 153, 180, 181, 213, 214, 251, 252, 287,
           288, 331, 450, 666, 997, 1452, 1989, 2331]  # fmt: skip


@pytest.mark.parametrize("length", LENGTHS)
def test_a_text_of_each_length_is_read(length: int) -> None:
    assert read(picture(modules_of(text_of(length)))) == (text_of(length), "M")


def links() -> Iterator[tuple[str, str]]:
    """Yield the link of each asset of each network that there is, as long as it can get, and the address alone."""
    for family, name, tokens in (
        *[("bitcoin", name, ()) for name in BITCOINS],
        *[("evm", name, tuple(Token(one.symbol) for one in known.tokens)) for name, known in ETHEREUMS.items()],
    ):
        chain = FAMILIES[family].chain(name, "here", tokens)
        key = XPUB if family == "evm" or chain.livemode else TPUB
        account = chain.addresses.account(key)
        address = chain.addresses.derive(account.descriptor, 7).text
        yield f"{name} alone", address
        for asset in chain.assets:
            yield f"{name} {asset.symbol}", chain.addresses.payment_uri(address, asset, 123_456_789, "Größe ☕ " * 200)


LINKS = dict(links())


@pytest.mark.parametrize("which", LINKS)
def test_the_link_of_every_asset_of_every_network_is_read(which: str) -> None:
    assert read(picture(modules_of(LINKS[which].encode()))) == (LINKS[which].encode(), "M")


def test_what_covers_a_tenth_of_the_data_is_made_up_for() -> None:
    link = next(text for which, text in LINKS.items() if which.endswith("BTC"))
    modules = modules_of(link.encode())
    side, whole = int(len(modules) * 0.3), picture(modules)
    covered = modules.copy()
    covered[-side - 12 : -12, -side - 12 : -12] = 1
    assert read(picture(covered))[0] == link.encode()
    assert (picture(covered) != whole).any()


def test_a_dim_picture_is_read() -> None:
    assert read(picture(modules_of(b"bitcoin:x"), dark=90, light=150))[0] == b"bitcoin:x"
