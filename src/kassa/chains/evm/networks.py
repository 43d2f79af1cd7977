"""The networks of the family. A new one is one record here and its test vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownToken:
    """The contract that a symbol alone stands for on one chain, with its EIP-55 checksum, and its decimals."""

    symbol: str
    contract: str
    decimals: int


@dataclass(frozen=True, slots=True)
class EvmNetwork:
    """One network as data.

    `genesis` is the hash of its first block; None for a private chain, which is made anew at every start: there the
    first one seen counts. `finality` names the tags by which its nodes tell what is final. `slip44` is the coin's
    number in CAIP-19. `explorer` is a public site that shows a transaction under `/tx/`, `public_rpc` the node that a
    payer's wallet may use which does not know the network yet. `complete_bloom` is false where a block's receipts hold
    logs that its header does not commit to.
    """

    chain_id: int
    name: str
    symbol: str
    genesis: str | None
    livemode: bool
    block_seconds: int
    tokens: Sequence[KnownToken] = ()
    finality: Sequence[str] = ("safe", "finalized")
    slip44: int = 60
    decimals: int = 18
    complete_bloom: bool = True
    explorer: str | None = None
    public_rpc: str | None = None

    @property
    def caip2(self) -> str:
        return f"eip155:{self.chain_id}"


COIN_TYPE = 60
"""The coin type in BIP-44 paths: wallets use Ethereum's on every chain of the family."""

# USDC: Circle's own contract wherever Circle has one, never the bridged "USDC.e". USDT and DAI beyond Ethereum are
# what the chain's own bridge made of them; where two contracts claim to be it (USDT on OP Mainnet and Base), none is
# known by the symbol. On BNB Smart Chain all three are Binance's, with 18 decimals.
_NETWORKS = (
    EvmNetwork(
        chain_id=1,
        name="Ethereum",
        symbol="ETH",
        genesis="0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
        livemode=True,
        block_seconds=12,
        explorer="https://etherscan.io",
        tokens=(
            KnownToken("USDC", "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", 6),
            KnownToken("USDT", "0xdAC17F958D2ee523a2206206994597C13D831ec7", 6),
            KnownToken("DAI", "0x6B175474E89094C44Da98b954EedeAC495271d0F", 18),
        ),
    ),
    EvmNetwork(
        chain_id=8453,
        name="Base",
        symbol="ETH",
        genesis="0xf712aa9241cc24369b143cf6dce85f0902a9731e70d66818a3a5845b296c73dd",
        livemode=True,
        block_seconds=2,
        explorer="https://basescan.org",
        public_rpc="https://mainnet.base.org",
        tokens=(
            KnownToken("USDC", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", 6),
            KnownToken("DAI", "0x50c5725949A6F0c72E6C4a641F24049A917DB0Cb", 18),
        ),
    ),
    EvmNetwork(
        chain_id=42161,
        name="Arbitrum One",
        symbol="ETH",
        genesis="0x7ee576b35482195fc49205cec9af72ce14f003b9ae69f6ba0faef4514be8b442",
        livemode=True,
        block_seconds=1,
        explorer="https://arbiscan.io",
        public_rpc="https://arb1.arbitrum.io/rpc",
        tokens=(
            KnownToken("USDC", "0xaf88d065e77c8cC2239327C5EDb3A432268e5831", 6),
            KnownToken("USDT", "0xFd086bC7CD5C481DCC9C85ebE478A1C0b69FCbb9", 6),
            KnownToken("DAI", "0xDA10009cBd5D07dd0CeCc66161FC93D7c9000da1", 18),
        ),
    ),
    EvmNetwork(
        chain_id=10,
        name="OP Mainnet",
        symbol="ETH",
        genesis="0x7ca38a1916c42007829c55e69d3e9a73265554b586a499015373241b8a3fa48b",
        livemode=True,
        block_seconds=2,
        explorer="https://optimistic.etherscan.io",
        public_rpc="https://mainnet.optimism.io",
        tokens=(
            KnownToken("USDC", "0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85", 6),
            KnownToken("DAI", "0xDA10009cBd5D07dd0CeCc66161FC93D7c9000da1", 18),
        ),
    ),
    EvmNetwork(
        chain_id=137,
        name="Polygon PoS",
        symbol="POL",
        genesis="0xa9c28ce2141b56c474f1dc504bee9b01eb1bd7d1a507580d5519d4437a97de1b",
        livemode=True,
        block_seconds=2,
        explorer="https://polygonscan.com",
        public_rpc="https://polygon-rpc.com",
        tokens=(
            KnownToken("USDC", "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", 6),
            KnownToken("USDT", "0xc2132D05D31c914a87C6611C10748AEb04B58e8F", 6),
            KnownToken("DAI", "0x8f3Cf7ad23Cd3CaDbD9735AFf958023239c6A063", 18),
        ),
        finality=("finalized",),
        slip44=966,
        # What its bridge brings in is logged in a receipt that the header's bloom leaves out.
        complete_bloom=False,
    ),
    EvmNetwork(
        chain_id=56,
        name="BNB Smart Chain",
        symbol="BNB",
        genesis="0x0d21840abff46b96c84b2ac9e10e4f5cdaeb5693cb665db62a2f3b02d2d57b5b",
        livemode=True,
        block_seconds=1,
        explorer="https://bscscan.com",
        public_rpc="https://bsc-dataseed.bnbchain.org",
        tokens=(
            KnownToken("USDC", "0x8AC76a51cc950d9822D68b83fE1Ad97B32Cd580d", 18),
            KnownToken("USDT", "0x55d398326f99059fF775485246999027B3197955", 18),
            KnownToken("DAI", "0x1AF3F329e8BE154074D8769D1FFa4eE058B1DBc3", 18),
        ),
        slip44=714,
    ),
    EvmNetwork(
        chain_id=11155111,
        name="Sepolia",
        symbol="ETH",
        genesis="0x25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9",
        livemode=False,
        block_seconds=12,
        explorer="https://sepolia.etherscan.io",
        tokens=(KnownToken("USDC", "0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238", 6),),
    ),
    EvmNetwork(
        chain_id=31337,
        name="anvil",
        symbol="ETH",
        genesis=None,
        livemode=False,
        block_seconds=1,
        public_rpc="http://127.0.0.1:8545",  # where anvil listens unless told otherwise
    ),
)

NETWORKS: Mapping[str, EvmNetwork] = {str(network.chain_id): network for network in _NETWORKS}
"""Every network of the family, by its chain id in decimal text."""
