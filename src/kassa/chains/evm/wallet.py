"""What to ask of a wallet in the payer's browser: to be on this network, and to send exactly what is due (EIP-1193)."""

from collections.abc import Mapping
from typing import Any

from kassa.chains.evm.keccak import checksummed
from kassa.chains.evm.networks import EvmNetwork
from kassa.core.money import Asset

_TRANSFER = "a9059cbb"  # transfer(address,uint256), of ERC-20


class WalletCalls:
    """Writes such requests for one network."""

    def __init__(self, network: EvmNetwork, contracts: Mapping[str, bytes]) -> None:
        """`contracts`: of the network's tokens, by asset id."""
        self._chain = _chain(network)
        self._contracts = contracts

    def __call__(self, address: str, asset: Asset, units: int) -> Mapping[str, Any]:  # JSON
        """Return `chain`, as `wallet_addEthereumChain` takes it (EIP-3085), and a transaction without its sender."""
        contract = self._contracts.get(asset.id)
        if contract is None:
            return {"chain": self._chain, "transaction": {"to": address, "value": hex(units)}}
        data = f"0x{_TRANSFER}{address[2:].lower():0>64}{units:064x}"
        return {"chain": self._chain, "transaction": {"to": checksummed(contract), "value": "0x0", "data": data}}


def _chain(network: EvmNetwork) -> dict[str, Any]:  # JSON
    return {
        "chainId": hex(network.chain_id),
        "chainName": network.name,
        "nativeCurrency": {"name": network.symbol, "symbol": network.symbol, "decimals": network.decimals},
        "rpcUrls": [] if network.public_rpc is None else [network.public_rpc],
        "blockExplorerUrls": [] if network.explorer is None else [network.explorer],
    }
