"""The EVM family: Ethereum, and the chains whose nodes speak its JSON-RPC. A network is one record of data."""
