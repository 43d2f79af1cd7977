"""Files of environment variables, read as systemd reads those that a unit names by EnvironmentFile."""

import re
from pathlib import Path

from kassa.core.errors import SettingsError

# Quoted parts stand at the front, one after the other; what follows them, or stands alone, runs to the end of the line.
# Nothing that was read is given up again (possessive), for a line of blanks must not be read in a thousand ways.
_ASSIGNED = re.compile(
    r"""^(?![ \t\r]*+[#;])(?P<name>[^=\n]*+)=
        (?P<quoted>(?:[ \t\r]*+(?:'[^']*'|"(?:[^"\\]|\\.)*+"))*+)
        [ \t\r]*+(?P<plain>(?:[^\n\\]|\\.|\\\Z)*+)$""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_QUOTED = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)\"""", re.DOTALL)


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file by name, as systemd.exec(5) says of EnvironmentFile: nothing is expanded.

    Raises `SettingsError` for one that cannot be read.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "it is not UTF-8"
        raise SettingsError(
            f"{path} cannot be read: {reason}; it is the file of variables that the units name, which the user of the"
            " service must be able to read (root:kassa, mode 0640)"
        ) from fault
    named = [(found["name"].strip(" \t\r"), found) for found in _ASSIGNED.finditer(text)]
    return {name: _value(found["quoted"], found["plain"]) for name, found in named if name}


def _value(quoted: str, plain: str) -> str:
    parts = [
        found[1] if found[2] is None else re.sub(r'\\(["\\`$\n])', _taken, found[2])
        for found in _QUOTED.finditer(quoted)
    ]
    letters = re.findall(r"\\.|\\\Z|[^\\]", plain, re.DOTALL)
    while letters and letters[-1].isspace():
        letters.pop()
    return "".join(parts) + "".join(re.sub(r"\\(.?)", _taken, letter, flags=re.DOTALL) for letter in letters)


def _taken(escaped: re.Match[str]) -> str:
    return "" if escaped[1] == "\n" else escaped[1]
