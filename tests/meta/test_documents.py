"""What the documents say is what the tree holds."""

import re
import tomllib
from pathlib import Path

import kassa
from kassa.chains.registry import FAMILIES as CHAIN_FAMILIES
from kassa.core import errors
from kassa.rates.sources import SOURCES
from kassa.settings import keys
from kassa.settings.read import PREFIX

ROOT = Path(__file__).parent.parent.parent
KASSA = ROOT / "src" / "kassa"


def text(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def test_the_map_names_every_part() -> None:
    parts = [path.name + "/" for path in KASSA.iterdir() if (path / "__init__.py").exists()]
    parts += [path.name for path in KASSA.glob("*.py") if path.name != "__init__.py"]
    missing = [part for part in sorted(parts) if f"`{part}`" not in text("docs/map.md")]
    assert missing == []


def test_the_map_names_nothing_that_is_not_there() -> None:
    named = set(re.findall(r"^\| `([\w/]+(?:/|\.py))`", text("docs/map.md"), re.MULTILINE))
    assert named
    assert [part for part in sorted(named) if not (KASSA / part).exists()] == []


def test_every_setting_is_documented_with_its_variable() -> None:
    document = text("docs/configuration.md")
    places = [(key,) for key in keys.ROOT]
    places += [(section, key) for section, entries in keys.SECTIONS.items() for key in entries]
    places += [("networks", "NAME", key) for entries in keys.FAMILIES.values() for key in entries]
    variables = [PREFIX + "__".join(place).upper() for place in places]
    assert [variable for variable in variables if f"`{variable}`" not in document] == []


def test_the_settings_know_the_families_that_are_built() -> None:
    assert set(keys.FAMILIES) == set(CHAIN_FAMILIES)


def test_the_settings_know_the_sources_that_are_built() -> None:
    assert set(keys.RATE_SOURCES) == set(SOURCES)


def test_the_error_tree_draws_every_error() -> None:
    drawn = set(re.findall(r"[├└│─\s]*\b([A-Z]\w+)\b {2,}", errors.__doc__ or "")) | {"KassaError"}
    defined = {
        name for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, errors.KassaError)
    }
    assert drawn >= defined


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)} → {target}"
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_the_version_is_said_once_more_and_equal() -> None:
    assert tomllib.loads(text("pyproject.toml"))["project"]["version"] == kassa.__version__


def test_every_picture_is_shown_somewhere() -> None:
    shown = {
        name for page in (ROOT / "docs").glob("*.md") for name in re.findall(r"screens/([\w-]+\.png)", page.read_text())
    }
    assert {file.name for file in (ROOT / "docs" / "screens").iterdir()} == shown
