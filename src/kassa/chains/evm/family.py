"""What the family offers to the rest of the house."""

from collections.abc import Sequence

from kassa.chains.base import Chain, Connection, Family
from kassa.chains.evm.addresses import EvmAddresses, read_address
from kassa.chains.evm.audit import EvmAuditor
from kassa.chains.evm.keccak import checksummed
from kassa.chains.evm.messages import Names
from kassa.chains.evm.networks import NETWORKS, EvmNetwork, KnownToken
from kassa.chains.evm.probe import EvmProbe
from kassa.chains.evm.source import EvmSource
from kassa.chains.evm.wallet import WalletCalls
from kassa.core.errors import SettingsError
from kassa.core.money import Asset, Token

MAX_DECIMALS = 36


def chain(name: str, network: str, tokens: Sequence[Token] = ()) -> Chain:
    """Describe a chain by its id ("31337") under the name of its network; raise `SettingsError` for what is wrong."""
    record = NETWORKS.get(name)
    if record is None:
        known = ", ".join([f"{chain_id} ({one.name})" for chain_id, one in NETWORKS.items()])
        raise SettingsError(f"networks.{network}.chain_id {name[:40]} is not known; choose one of: {known}")
    coin = Asset(record.symbol, network, record.decimals)
    chosen = _tokens(record, network, tokens)
    assets = (coin, *[Asset(token.symbol, network, token.decimals) for token in chosen])
    contracts = {asset.id: _contract(token) for asset, token in zip(assets[1:], chosen, strict=True)}
    caip19 = {coin.id: f"{record.caip2}/slip44:{record.slip44}"}
    caip19 |= {
        asset.id: f"{record.caip2}/erc20:{token.contract}" for asset, token in zip(assets[1:], chosen, strict=True)
    }
    names = Names(network, coin.id, {f"0x{contract.hex()}": id_ for id_, contract in contracts.items()}, record)

    def connect(connection: Connection) -> EvmSource:
        return EvmSource(connection, names)

    def auditor(connection: Connection) -> EvmAuditor:
        return EvmAuditor(connection, coin.id, contracts)

    return Chain(
        name=name,
        livemode=record.livemode,
        assets=assets,
        caip19=caip19,
        addresses=EvmAddresses(record, contracts),
        space="eip155",
        node_needs="an API over HTTP or WebSocket with eth, and trace or debug to see what contracts forward",
        block_seconds=record.block_seconds,
        connect=connect,
        title=record.name,
        contracts={asset.id: token.contract for asset, token in zip(assets[1:], chosen, strict=True)},
        explorer=record.explorer,
        wallet_request=WalletCalls(record, contracts),
        probe=EvmProbe,
        auditor=auditor,
    )


def _tokens(record: EvmNetwork, network: str, tokens: Sequence[Token]) -> list[KnownToken]:
    chosen: list[KnownToken] = []
    taken = {record.symbol: "the chain's own coin"}
    contracts: dict[bytes, str] = {}
    for place, token in enumerate(tokens):
        where = f"networks.{network}.tokens[{place}]"
        found = _token(record, where, token)
        if found.symbol in taken:
            raise SettingsError(f"{where}: the symbol {found.symbol} is {taken[found.symbol]} already; choose another")
        contract = _contract(found)
        if contract in contracts:
            raise SettingsError(f"{where}: its contract is that of {contracts[contract]} already; remove one of them")
        taken[found.symbol] = f"a token of {network}"
        contracts[contract] = found.symbol
        chosen.append(found)
    return chosen


def _token(record: EvmNetwork, where: str, token: Token) -> KnownToken:
    """Fill in what the settings left out, from what the network's tokens are known to be."""
    known = next((one for one in record.tokens if one.symbol == token.symbol), None)
    if token.contract is None:
        if known is None:
            names = ", ".join([one.symbol for one in record.tokens]) or "none"
            raise SettingsError(
                f"{where}: {token.symbol[:20]} is not known on {record.name} (known by symbol alone: {names}); "
                f'write {{ symbol = "{token.symbol[:20]}", contract = "0x…", decimals = … }}'
            )
        if token.decimals not in (None, known.decimals):
            raise SettingsError(f"{where}: {known.symbol} on {record.name} has {known.decimals} decimals")
        return known
    return _named(record, where, token, known)


def _named(record: EvmNetwork, where: str, token: Token, known: KnownToken | None) -> KnownToken:
    address = read_address(token.contract or "")
    if address is None:
        raise SettingsError(
            f"{where}: contract must be an address (0x and 40 digits) whose capitals are right (EIP-55): copy it again"
        )
    if token.decimals is None or not 0 <= token.decimals <= MAX_DECIMALS:
        raise SettingsError(f"{where}: decimals must be a number from 0 to {MAX_DECIMALS}: what the contract says")
    if known is not None and record.livemode and address != _contract(known):
        raise SettingsError(
            f"{where}: {known.symbol} on {record.name} is {known.contract}; give another contract another symbol"
        )
    if known is not None and address == _contract(known) and token.decimals != known.decimals:
        raise SettingsError(f"{where}: {known.symbol} on {record.name} has {known.decimals} decimals")
    return KnownToken(token.symbol, checksummed(address), token.decimals)


def _contract(token: KnownToken) -> bytes:
    return bytes.fromhex(token.contract[2:])


FAMILY = Family("evm", tuple(NETWORKS), chain)
