"""Addresses of one network: from a wallet's account, from a payer's text, into a payment link."""

import re
from collections import OrderedDict
from collections.abc import Mapping

import wallycore as wally  # type: ignore[import-untyped]  # ships no types

from kassa.chains.base import Account, Derived
from kassa.chains.evm.account import read
from kassa.chains.evm.keccak import checksummed, keccak
from kassa.chains.evm.networks import EvmNetwork
from kassa.chains.keys import Branch, branch, child, fingerprint
from kassa.core.errors import FieldFault, Invalid
from kassa.core.money import Asset

_ADDRESS = re.compile(r"0[xX]([0-9a-fA-F]{40})\Z", re.ASCII)
_CACHED = 1024  # accounts, a few hundred bytes each


def address_key(address: bytes) -> int:
    """Return the search key of an address: its first 8 bytes as a little-endian signed number."""
    return int.from_bytes(address[:8], "little", signed=True)


def read_address(text: str) -> bytes | None:
    """Return the 20 bytes of a written address, or None. Its capitals are a checksum unless all letters are alike."""
    match = _ADDRESS.match(text)
    if match is None:
        return None
    digits = match[1]
    address = bytes.fromhex(digits)
    if digits not in (digits.lower(), digits.upper()) and checksummed(address) != "0x" + digits:
        return None
    return address


class EvmAddresses:
    """Addresses of one network. Keeps the parsed accounts it was last asked about, nothing else."""

    def __init__(self, network: EvmNetwork, contracts: Mapping[str, bytes]) -> None:
        """`contracts`: of the network's tokens, by asset id."""
        self._network = network
        self._contracts = contracts
        self._branches: OrderedDict[str, Branch] = OrderedDict()

    def account(self, text: str) -> Account:
        """Read an account's key; raise `Invalid` (field `descriptor`) saying what is wrong.

        The fingerprint is that of the master key when the text names it, else that of the extended key itself.
        """
        account = read(text, livemode=self._network.livemode)
        child(branch(account.key.serialized, account.key.steps), 0)
        return Account(account.text, account.key.origin or fingerprint(account.key.serialized))

    def derive(self, descriptor: str, index: int) -> Derived:
        """Derive the receiving address at `index` (0 ≤ index < 2**31) of a canonical descriptor."""
        if not 0 <= index < 2**31:
            raise Invalid(FieldFault("index", "must be at least 0 and below 2147483648"))
        point = bytes(wally.ec_public_key_decompress(child(self._branch(descriptor), index)))
        address = keccak(point[1:])[12:]
        return Derived(checksummed(address), address, address_key(address))

    def parse(self, text: str) -> bytes:
        """Return the 20 bytes of an address; raise `Invalid` (field `address`).

        All small, all capital or with the checksum of EIP-55: the same bytes. A wrong checksum is a mistyped address.
        """
        address = read_address(text)
        if address is None:
            raise Invalid(FieldFault("address", f"is not a valid address of {self._network.name}"))
        return address

    def payment_uri(self, address: str, asset: Asset, units: int, label: str | None) -> str:
        """Write a link of EIP-681, with the amount in smallest units. That standard knows no label."""
        contract = self._contracts.get(asset.id)
        if contract is None:
            return f"ethereum:{address}@{self._network.chain_id}?value={units}"
        target = f"{checksummed(contract)}@{self._network.chain_id}"
        return f"ethereum:{target}/transfer?address={address}&uint256={units}"

    def _branch(self, descriptor: str) -> Branch:
        found = self._branches.get(descriptor)
        if found is None:
            key = read(descriptor, livemode=self._network.livemode).key
            found = self._branches[descriptor] = branch(key.serialized, key.steps)
            if len(self._branches) > _CACHED:
                self._branches.popitem(last=False)
        return found
