"""What the sandbox shows: lines that can be copied whole, in colour on a terminal and plain elsewhere, or JSON."""

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.text import Text

from kassa.sandbox.receiver import Received

_PLAIN = str.maketrans({"✓": "+", "✗": "x", "→": ">", "…": "...", "·": "-"})
_LABEL, _WIDTH = 14, 80

Note = Callable[[str], None]


class Screen:
    """Prints for a person; with `as_json` it prints nothing but what `tell` is given."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False, quiet=as_json)
        self._plain = not (sys.stdout.encoding or "ascii").lower().startswith("utf")

    def tell(self, document: Mapping[str, Any]) -> None:
        """Print one JSON document on one line, for programs."""
        if self.as_json:
            print(json.dumps(document), flush=True)

    def line(self, text: str = "", style: str = "") -> None:
        """Print a line as it is."""
        self._print(Text(text, style))

    def heading(self, text: str, more: str = "") -> None:
        """Print what the next lines are about."""
        self._print(Text.assemble("\n", (text, "bold"), (f"  {more}" if more else "", "dim")))

    def field(self, label: str, text: str, style: str = "", *, indent: int = 2) -> None:
        """Print a named value, last on its line: it can be copied with a double or triple click."""
        self._print(Text.assemble(" " * indent, (label.ljust(_LABEL), "dim"), (text, style)))

    def ways(self, ways: Sequence[tuple[str, str]]) -> None:
        """Print what can be typed, and what each of it does."""
        width = max(len(typed) for typed, _ in ways)
        for typed, what in ways:
            self._print(Text.assemble("  ", (typed.ljust(width), "bold"), "  ", (what, "dim")))

    def done(self, label: str, text: str, seconds: float | None = None, *, indent: int = 2) -> None:
        """Print something that was done, or that was checked and found right, with the time it took."""
        took = "" if seconds is None else f"  {_duration(seconds)}"
        room = _WIDTH - indent - 2 - _LABEL - len(took) if took else 0
        self._print(Text.assemble(" " * indent, ("✓ ", "green"), label.ljust(_LABEL), text.ljust(room), (took, "dim")))

    def failed(self, text: str) -> None:
        """Print what went wrong."""
        self._print(Text.assemble("  ", ("✗ ", "bold red"), (text, "red")))

    def note(self, text: str) -> None:
        """Print what is going on."""
        self._print(Text(f"    {text}", "dim"))

    @contextmanager
    def doing(self, label: str, what: str) -> Iterator[Note]:
        """Show what is going on, and that it was done; what is yielded takes the words for the second."""
        said = [what]
        started = perf_counter()
        if self._console.is_terminal:
            with self._console.status(Text.assemble(label.ljust(_LABEL), (what, "dim")), spinner="dots"):
                yield said.append
        else:
            yield said.append
        self.done(label, said[-1], perf_counter() - started)

    def webhook(self, received: Received, now: datetime) -> None:
        """Print an event whose signature was right; as JSON, the event itself."""
        self.tell(received.event)
        kind = received.type.rpartition(".")[2]
        style = {"settled": "green", "reopened": "yellow", "reversed": "red", "expired": "red"}.get(kind, "cyan")
        self._print(
            Text.assemble(
                (f"  {now.astimezone():%H:%M:%S} ", "dim"),
                ("✓ ", "green"),
                (received.type.ljust(19), style),
                summary(received.object),
            )
        )

    def _print(self, text: Text) -> None:
        if self._plain:
            text = Text(text.plain.translate(_PLAIN).encode("ascii", "replace").decode())
        text.rstrip()
        self._console.print(text)


def summary(resource: Mapping[str, Any]) -> str:
    """Say in a line what an event's resource says."""
    match resource.get("object"):
        case "invoice":
            flags = f" [{', '.join(resource['flags'])}]" if resource["flags"] else ""
            money = f"{resource['amount_paid']}/{resource['amount']} {resource['currency']}"
            return f"{_tail(resource['id'])}  {resource['status']}{flags}, {money}"
        case "payment":
            depth = f"{resource['confirmations']} of {resource['confirmations_required']} confirmations"
            return f"{_tail(resource['invoice_id'])}  {resource['amount']} {symbol(resource['asset'])}, {depth}"
    return ""


def short(text: str) -> str:
    """Shorten an id or a hash to what a person compares: its beginning and its end."""
    return text if len(text) <= 20 else f"{text[:8]}…{text[-6:]}"


def plain(amount: str) -> str:
    """Return an amount as the checkout writes it, without zeros at the end."""
    return amount.rstrip("0").rstrip(".") if "." in amount else amount


def _tail(text: str) -> str:
    return f"…{text[-6:]}"


def symbol(asset: str) -> str:
    """Return what people call an asset."""
    return asset.partition("@")[0]


def program(*words: str, folder: Path | None = None) -> str:
    """Write a command as it must be typed here: the way this program was started, with the folder if it is not ours."""
    name = "kassa" if shutil.which("kassa") == shutil.which(sys.argv[0]) else relative(Path(sys.argv[0]))
    more = [] if folder is None else ["--data-dir", relative(folder)]
    return shlex.join([name, *words, *more])


def relative(path: Path) -> str:
    """Write a path as it is typed here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms".rjust(7) if seconds < 1 else f"{seconds:.1f} s".rjust(7)
