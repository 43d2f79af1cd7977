"""The networks of the family. A new one is one record here and its test vectors."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BitcoinNetwork:
    """One network as data.

    `core_chain` is what `getblockchaininfo` calls it. `p2pkh` and `p2sh` are base58 version bytes, `hrp` the bech32
    prefix. `public_keys` gives the script function that each version of an extended public key stands for (SLIP-132);
    `key_version` is the version that the network's own node writes, and the one that is stored. `coin_type` is the
    number in BIP-44 paths, `slip44` the one of CAIP-19. `max_units` is the most an output can hold, `dust_units` the
    least that nodes relay to an address of any kind (what Core calls dust of a P2PKH output, at the network's fee for
    dust). `explorer` is a public site that shows a transaction under `/tx/`. `checkpoints` are blocks, by height, that
    its chain is known to hold. `least_version` is the oldest node that follows its rules, as `getnetworkinfo` counts
    (Core: 250000 is 25.0).
    """

    chain: str
    livemode: bool
    core_chain: str
    genesis: str
    symbol: str
    p2pkh: int
    p2sh: int
    hrp: str
    key_version: int
    public_keys: Mapping[int, str]
    coin_type: int
    slip44: int
    uri_scheme: str
    block_seconds: int
    max_units: int
    dust_units: int
    checkpoints: Mapping[int, str]
    least_version: int
    decimals: int = 8
    coinbase_maturity: int = 101  # confirmations, for the 100 blocks that must stand on a coinbase
    explorer: str | None = None

    @property
    def title(self) -> str:
        return self.chain.replace("-", " ").capitalize()

    @property
    def caip2(self) -> str:
        return f"bip122:{self.genesis[:32]}"

    @property
    def caip19(self) -> str:
        return f"{self.caip2}/slip44:{self.slip44}"


_XPUB, _YPUB, _ZPUB = 0x0488B21E, 0x049D7CB2, 0x04B24746
_TPUB, _UPUB, _VPUB = 0x043587CF, 0x044A5262, 0x045F1CF6
_LTUB, _MTUB, _TTUB = 0x019DA462, 0x01B26EF6, 0x0436F6E1

# SLIP-132 reads a bare xpub as pkh, but today's wallets export segwit accounts under it: wpkh.
_MAIN_KEYS = {_XPUB: "wpkh", _YPUB: "sh(wpkh", _ZPUB: "wpkh"}
_TEST_KEYS = {_TPUB: "wpkh", _UPUB: "sh(wpkh", _VPUB: "wpkh"}

# A private chain is shown nowhere.
_EXPLORERS = {
    "bitcoin": "https://mempool.space",
    "bitcoin-testnet4": "https://mempool.space/testnet4",
    "bitcoin-signet": "https://mempool.space/signet",
    "litecoin": "https://litecoinspace.org",
    "litecoin-testnet": "https://litecoinspace.org/testnet",
}

# What Bitcoin Core and Litecoin Core themselves name (chainparams: checkpoints, activations, assumed valid). 481824 is
# the first block with segwit, which the chains that split off in 2017 do not have.
_CHECKPOINTS: Mapping[str, Mapping[int, str]] = {
    "bitcoin": {
        295_000: "00000000000000004d9b4ef50f0f9d686fd69db2e03af35a100370c64632a983",
        481_824: "0000000000000000001c8018d9cb3b742ef25114f27563e3fc4a1902167f9893",
        824_000: "000000000000000000026811d149d4d261995ec5b3f64f439a0a10e1a464af9a",
    },
    "litecoin": {
        240_000: "7140d1c4b4c2157ca217ee7636f24c9c73db39c4590c4e6eab2e3ea1555088aa",
        721_000: "198a7b4de1df9478e2463bd99d75b714eab235a2e63e741641dc8a759a9840e5",
    },
}


def _bitcoin(chain: str, core_chain: str, genesis: str, hrp: str, *, livemode: bool = False) -> BitcoinNetwork:
    return BitcoinNetwork(
        chain=chain,
        livemode=livemode,
        core_chain=core_chain,
        genesis=genesis,
        symbol="BTC",
        p2pkh=0 if livemode else 111,
        p2sh=5 if livemode else 196,
        hrp=hrp,
        key_version=_XPUB if livemode else _TPUB,
        public_keys=_MAIN_KEYS if livemode else _TEST_KEYS,
        coin_type=0 if livemode else 1,
        slip44=0,
        uri_scheme="bitcoin",
        block_seconds=600,
        max_units=21_000_000 * 10**8,
        dust_units=546,
        explorer=_EXPLORERS.get(chain),
        checkpoints=_CHECKPOINTS.get(chain, {}),
        least_version=250_000,
    )


def _litecoin(chain: str, core_chain: str, genesis: str, hrp: str, *, livemode: bool = False) -> BitcoinNetwork:
    # Electrum-LTC writes Ltub/Mtub or Bitcoin's versions, Litecoin Core Bitcoin's: all three are in use.
    keys = _MAIN_KEYS | {_LTUB: "wpkh", _MTUB: "sh(wpkh"} if livemode else _TEST_KEYS | {_TTUB: "wpkh"}
    return BitcoinNetwork(
        chain=chain,
        livemode=livemode,
        core_chain=core_chain,
        genesis=genesis,
        symbol="LTC",
        p2pkh=48 if livemode else 111,
        # The old script version (5, 196) is Bitcoin's too: an address that could belong to either is refused.
        p2sh=50 if livemode else 58,
        hrp=hrp,
        key_version=_XPUB if livemode else _TPUB,
        public_keys=keys,
        coin_type=2 if livemode else 1,
        slip44=2,
        uri_scheme="litecoin",
        block_seconds=150,
        max_units=84_000_000 * 10**8,
        dust_units=5_460,
        explorer=_EXPLORERS.get(chain),
        checkpoints=_CHECKPOINTS.get(chain, {}),
        least_version=210_200,  # the first that knows MWEB
    )


NETWORKS: Mapping[str, BitcoinNetwork] = {
    network.chain: network
    for network in (
        _bitcoin(
            "bitcoin", "main", "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f", "bc", livemode=True
        ),
        _bitcoin(
            "bitcoin-testnet4", "testnet4", "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043", "tb"
        ),
        _bitcoin("bitcoin-signet", "signet", "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6", "tb"),
        _bitcoin(
            "bitcoin-regtest", "regtest", "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206", "bcrt"
        ),
        _litecoin(
            "litecoin", "main", "12a765e31ffd4059bada1e25190f6e98c99d9714d334efa41a195a7e7e04bfe2", "ltc", livemode=True
        ),
        _litecoin(
            "litecoin-testnet", "test", "4966625a4b2851d9fdee139e56211a0d88575f59ed816ff5e6a63deb4e3e29a0", "tltc"
        ),
        _litecoin(
            "litecoin-regtest", "regtest", "530827f38f93b43ed12af0b3ad25a288dc02ed74d6d7857862df51fc56c416f9", "rltc"
        ),
    )
}
"""Every network of the family, by the name that settings and the API use."""
