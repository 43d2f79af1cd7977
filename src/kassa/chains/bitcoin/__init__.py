"""The Bitcoin family: every network whose node speaks Bitcoin Core's RPC. A network is one record of data."""
