"""Run the benchmarks one after the other: `python -m bench`, or some of them by name: `python -m bench latency`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = (
    "catch_up",
    "evm_catch_up",
    "latency",
    "evm_latency",
    "invoices",
    "deliveries",
    "customer_spend",
    "export",
    "checkout",
    "overview",
)


def main(asked: list[str]) -> int:
    if unknown := set(asked) - set(NAMES):
        print(f"there is no benchmark {min(unknown)!r}; choose from: {', '.join(NAMES)}")
        return 2
    failed = []
    for name in asked or NAMES:
        print(f"\n=== {name}", flush=True)
        # A process of its own for each: none inherits the other's memory or connections.
        if subprocess.run(  # noqa: S603 our own files
            [sys.executable, "-W", "ignore", HERE / f"{name}.py"], check=False
        ).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
