"""What the documents say is what the tree holds."""

import re
import tomllib
from pathlib import Path

import msgspec

import kassa
from kassa.api.routes import ENDPOINTS
from kassa.chains.registry import FAMILIES as CHAIN_FAMILIES
from kassa.core import errors
from kassa.rates.sources import SOURCES
from kassa.settings import keys, read_settings
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


def test_the_map_names_every_loop() -> None:
    (row,) = re.findall(r"^\| `workers/` \|(.*)$", text("docs/map.md"), re.MULTILINE)
    files = {path.stem for path in (KASSA / "workers").glob("*.py")} - {"__init__"}
    assert set(re.findall(r"`(\w+)`", row)) == files


def test_the_settings_of_the_readme_are_read_as_they_stand(tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", text("README.md"), re.MULTILINE | re.DOTALL)
    (tmp_path / "kassa.toml").write_text("".join(blocks))
    settings = read_settings(tmp_path / "kassa.toml", {})
    assert set(settings.networks) == {"bitcoin", "base"}
    assert settings.rates.sources


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


def test_the_glossary_is_in_order_and_has_each_word_once() -> None:
    words = re.findall(r"^\| \*\*(.+?)\*\*", text("docs/glossary.md"), re.MULTILINE)
    assert words
    assert words == sorted(set(words))


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)} → {target}"
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_links_to_a_section_lead_to_its_heading() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [
        (page, *link) for page in pages for link in re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", page.read_text("utf-8"))
    ]
    broken = [
        f"{page.relative_to(ROOT)} → {target}#{section}"
        for page, target, section in links
        if section not in sections(page.parent / target if target else page)
    ]
    assert links
    assert broken == []


def sections(page: Path) -> set[str]:
    """Return what the headings of a page are called in links, as GitHub names them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_endpoint_that_is_named_is_served() -> None:
    served = {(each.method, re.sub(r"\{\w+\}", "{}", each.path)): each for each in ENDPOINTS}
    wrong = []
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = re.sub(r"/[a-z]{3}_…", "/{}", re.sub(r"\{\w+\}", "{}", page.read_text("utf-8")))
        for method, path, query in re.findall(
            r"(?:\b(GET|POST|PATCH|DELETE) )?(/v1/[\w/{}-]+)(?:\?([\w=&.-]+))?", text
        ):
            if path in ("/v1/openapi", "/v1/traces"):  # the document itself; a collector's
                continue
            found = [each for (by, at), each in served.items() if at == path and method in ("", by)]
            asked = {name.partition("=")[0] for name in query.split("&")} - {""}
            known = {field.encode_name for each in found if each.query for field in msgspec.structs.fields(each.query)}
            if not found or not asked <= known:
                wrong.append(f"{page.name}: {method} {path}?{query}")
    assert wrong == []


def test_the_version_is_said_once_more_and_equal() -> None:
    assert tomllib.loads(text("pyproject.toml"))["project"]["version"] == kassa.__version__


def test_every_picture_is_shown_somewhere() -> None:
    shown = {
        name for page in (ROOT / "docs").glob("*.md") for name in re.findall(r"screens/([\w-]+\.png)", page.read_text())
    }
    assert {file.name for file in (ROOT / "docs" / "screens").iterdir()} == shown
