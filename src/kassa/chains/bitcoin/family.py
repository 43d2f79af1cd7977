"""What the family offers to the rest of the house."""

from collections.abc import Sequence
from functools import partial

from kassa.chains.base import Chain, Connection, Family
from kassa.chains.bitcoin.addresses import BitcoinAddresses
from kassa.chains.bitcoin.audit import BitcoinAuditor
from kassa.chains.bitcoin.networks import NETWORKS
from kassa.chains.bitcoin.probe import BitcoinProbe
from kassa.chains.bitcoin.source import BitcoinSource
from kassa.chains.bitcoin.transactions import Names
from kassa.core.errors import SettingsError
from kassa.core.money import Asset, Token


def chain(name: str, network: str, tokens: Sequence[Token] = ()) -> Chain:
    """Describe a chain such as "bitcoin-regtest" under the name of its network; raise `SettingsError` if unknown."""
    record = NETWORKS.get(name)
    if tokens:
        raise SettingsError(f"networks.{network}.tokens: chains of this family carry no tokens; remove them")
    if record is None:
        raise SettingsError(f"networks.{network}.chain {name!r} is not known; choose one of: {', '.join(NETWORKS)}")
    asset = Asset(record.symbol, network, record.decimals, record.dust_units)
    names = Names(network, asset.id, record)

    def connect(connection: Connection) -> BitcoinSource:
        return BitcoinSource(connection, names)

    return Chain(
        name=name,
        livemode=record.livemode,
        assets=(asset,),
        caip19={asset.id: record.caip19},
        addresses=BitcoinAddresses(record),
        space=network,
        node_needs="bitcoind with -server and -rest=1",
        block_seconds=record.block_seconds,
        connect=connect,
        title=record.title,
        explorer=record.explorer,
        probe=partial(BitcoinProbe, least_version=record.least_version),
        auditor=BitcoinAuditor,
    )


FAMILY = Family("bitcoin", tuple(NETWORKS), chain)
