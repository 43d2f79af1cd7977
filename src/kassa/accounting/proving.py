"""Prove the books from the command line, and say the outcome in lines for people."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from kassa import flow
from kassa.core.errors import ChainError, FieldFault, Invalid
from kassa.main import open_house
from kassa.settings import Settings
from kassa.workers.reconcile import reconcile_network

Told = dict[str, Any]  # JSON for programs
Report = Callable[[str, int, int | None], None]
"""Hear what is being done, how much of it is, and of how much (None: not known)."""


async def reconcile(settings: Settings, network: str | None, report: Report) -> Told:
    """Reconcile one network or every one; raises `Invalid` for one that is not configured."""
    if network is not None and network not in settings.networks:
        known = ", ".join(settings.networks) or "none"
        raise Invalid(FieldFault("network", f"{network!r} is not in the settings; configured: {known}"))
    runs: list[Told] = []
    failed: list[Told] = []
    async with open_house(settings) as house:
        for name in house.chains if network is None else [network]:
            try:
                runs.append(await reconcile_network(house, name, partial(report, name)))
            except ChainError as fault:
                failed.append({"network": name, "reason": str(fault)})
    count = sum(len(run["differences"]) for run in runs)
    return {"differences": count, "networks": runs, "failed": failed}


def reconciliation_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Say what a reconciliation found."""
    for run in told["networks"]:
        yield (
            f"{run['network']}: {len(run['differences'])} differences at block {run['height']} {run['hash']}, "
            f"{run['addresses']} addresses"
        )
        if run["bounded"]:
            yield f"  {run['bounded']} balances were moved by their owner: compared from above only"
        for asset, amount in run["without_block"].items():
            yield f"  {amount} {asset} were accepted without a block and are not on the chain yet"
        for each in run["differences"]:
            owner = each["invoice_id"] or each["customer_id"] or "nobody"
            yield (
                f"  {each['address'] or 'no address'}: booked {each['booked']}, on the chain {each['found']} "
                f"{each['asset']} (owner {owner}; entries {', '.join(each['entries']) or 'none'})"
            )
    for fault in told["failed"]:
        yield f"{fault['network']}: could not be compared: {fault['reason']}"


async def verify(settings: Settings, report: Report) -> Told:
    """Verify the books from the stored facts."""
    async with open_house(settings) as house:
        done = await flow.verify(house, report)
    checks = [{"name": each.name, "failures": each.failures, "first": each.first} for each in done.checks]
    return {"failures": done.failures, "counts": done.counts, "due": done.due, "checks": checks}


def verification_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Say what a verification found."""
    yield ", ".join(f"{count} {name}" for name, count in told["counts"].items())
    for check in told["checks"]:
        yield f"{'ok   ' if not check['failures'] else 'WRONG'}  {check['name']}"
        if check["failures"]:
            more = check["failures"] - len(check["first"])
            yield f"       {check['failures']}: {', '.join(check['first'])}{f' and {more} more' if more else ''}"
    if told["due"]:
        yield f"{told['due']} invoices wait for the clock: they were compared with how they stood until then"
