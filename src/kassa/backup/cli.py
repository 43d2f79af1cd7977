"""The commands about backups. Heavy modules are imported inside them, so that `kassa --help` answers at once."""

import json
import sys
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from kassa.command import DEFAULT_FILE, AsJson, Config, ask, settings_of

_SAY_EVERY_SECONDS = 2


def backup(
    to: Annotated[Path, typer.Option("--to", help="A folder, or a file that is not there yet and ends in .age.")],
    recipient: Annotated[list[str] | None, typer.Option(help="A public key of age: age1… or ssh-…")] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Remove all but so many of the folder, the oldest.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write database, settings and address marks into one file that only the owner of the key can read; verify it."""
    from kassa.backup import make

    file = config or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    told = ask(make.backup(settings_of(config), file, to, recipient or (), Progress("dumped"), keep))
    print(json.dumps(told) if as_json else "\n".join(_told(told)))


def restore(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    identity: Annotated[Path, typer.Option(help="The file of the private key of age.")],
    replace: Annotated[bool, typer.Option("--replace", help="Put aside what the database holds now.")] = False,
    skip: Annotated[
        int | None, typer.Option(min=0, max=2**31 - 1, help="Pass over so many addresses of every wallet.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make the database that of a backup; no address is issued twice, and what is sent again is marked so."""
    from kassa.backup import restore as restoring

    wish = restoring.Wish(file, identity, replace=replace, skip=skip)
    told = ask(restoring.restore(settings_of(config), wish, Progress("loaded")))
    print(json.dumps(told) if as_json else "\n".join(_lines(told)))


def _told(told: dict[str, Any]) -> list[str]:
    lines = [f"{told['file']}: {told['bytes']} bytes, read back and whole"]
    lines += [f"removed: {name}" for name in told["removed"]]
    lines += [f"left out, for it is too large: {name} of data_dir" for name in told["left_out"]]
    if told["same_disk"]:
        lines.append("it lies on the disk of data_dir, and dies with it: take it to another machine")
    return lines


def _lines(told: dict[str, object]) -> list[str]:
    lines = [f"the database is that of {told['backup_at']}"]
    if told["put_aside"]:
        lines.append(f"what it held is kept in the schema {told['put_aside']}; drop it when you need it no more")
    lines += [f"written: {path}" for path in told["files"]]  # type: ignore[attr-defined]  # JSON
    if told["key_differs"]:
        lines.append(
            "the backup's addresses were sealed by another key than the one here, which was kept: put"
            " restored-address-key in place of address-key; if that one is not to be trusted any more, then"
            ' `kassa address-key renew --reason "…"`'
        )
    if told["key_locked"]:
        lines.append(
            "the key that sealed the backup's addresses is in restored-address-key.age, for backup.key_recipients;"
            " unless this machine has it: `umask 077; age -d -i KEY restored-address-key.age > address-key`"
        )
    lines += [_passed(each) for each in told["passed_over"]]  # type: ignore[attr-defined]  # JSON
    lines += [
        f"wallet of {each['store_id']} on {each['network']}: {each['fingerprint']}"
        for each in told["active_wallets"]  # type: ignore[attr-defined]  # JSON
    ]
    lines.append("compare each with your signing device: one that was replaced since the backup is back")
    lines.append(
        "what is sent says webhook-restored until every network with a wallet was seen whole: `kassa doctor` names"
        " those that are waited for; of one that you follow no more say `kassa network give-up NAME`"
    )
    lines.append(
        'the audit log ends where the backup did: see it, then `kassa audit accept --reason "…"`, on every machine with'
        " a data_dir of its own"
    )
    lines.append(
        "start Kassa: it reads the chain from there, then `kassa reconcile`. Keys revoked since are valid again"
    )
    return lines


def _passed(told: dict[str, Any]) -> str:
    """Say how far a counter went, and on what ground: an estimate is to be doubted by whoever knows better."""
    why = {
        "estimate": "estimated: twice the pace before the backup, times its age",
        "mark": "as far as address-marks.json here stands",
        "skip": "as you said",
    }[told["by"]]
    if told["by"] == "estimate":
        doubt = "is behind that" if told["mark_here"] else "does not know this wallet"
        why += f"; address-marks.json here {doubt}: if more were issued, restore again with --skip"
    where = ", ".join(told["networks"])
    return f"counter on {where}: from {told['from_index']} to {told['to_index']} ({why})"


class Progress:
    """Says on standard error how much went through, every two seconds."""

    def __init__(self, word: str) -> None:
        self._word, self._said = word, monotonic()

    def __call__(self, done: int) -> None:
        if monotonic() - self._said > _SAY_EVERY_SECONDS:
            self._said = monotonic()
            print(f"{self._word} {done // 2**20} MiB", file=sys.stderr, flush=True)
