"""The repository checks itself: what the style says and no other tool can see."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
KASSA = ROOT / "src" / "kassa"
SOURCES = sorted(KASSA.rglob("*.py"))

MONEY = (
    "core/money.py",
    "core/facts.py",
    "invoices/",
    "payments/",
    "ledger/",
    "rates/",
    "flow/",
    "customers/",
    "links/",
    "core/audits.py",
    "accounting/",
    "api/routes/",
    "api/shapes/",
)
"""Where amounts, rates and shares are reckoned."""
PURE_FORBIDDEN = {
    "asyncio",
    "random",
    "secrets",
    "time",
    "os",
    "socket",
    "subprocess",
    "threading",
    "pathlib",
    "logging",
}
REGISTRY_HOSTS = (
    "pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "npmjs" + ".com", "deb.debian" + ".org",
    "crates" + ".io", "snapshot.debian" + ".org", "nodesource" + ".com", "proxy.golang" + ".org",
)  # fmt: skip
_THING = "(unique index|index|table|function|trigger|database|type|view|extension|role|schema)"
_SQL = re.compile(
    rf"\s*(select\s|insert into\s|delete from\s|update \w+ (\w+ )?set\s|with \w+( \(.*\))? as\s"
    rf"|(create|alter|drop|truncate) {_THING}\s)"
)
CATCH_ALLS = {
    "api/app.py": "an endpoint that fails unexpectedly answers 500, where the framework is not there to do it",
    "webhooks/poster.py": "nothing that one receiver answers may stop the sending to the others",
}


def name(path: Path) -> str:
    return path.relative_to(KASSA).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floats(tree: ast.Module) -> list[int]:
    """Return the lines on which a float comes into being: a literal, `float`, a true division, a division's method."""
    found = []
    for node in ast.walk(tree):
        literal = isinstance(node, ast.Constant) and isinstance(node.value, float | complex)
        named = isinstance(node, ast.Name) and node.id == "float"
        timed = isinstance(node, ast.Attribute) and node.attr in ("total_seconds", "timestamp", "as_integer_ratio")
        maths = isinstance(node, ast.ImportFrom) and node.module in ("math", "statistics", "decimal", "numpy")
        if literal or named or timed or maths:
            found.append(node.lineno)  # type: ignore[attr-defined]
    return found


def calls(tree: ast.Module, *wanted: str) -> list[int]:
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node) in wanted]
    return [node.lineno for node in nodes]


def sql(tree: ast.Module) -> list[int]:
    """Return the lines of texts that are passed to a connection or kept as a constant, and read like SQL."""
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
        and _SQL.match(node.value.lower() if node.value.isupper() else node.value)
        and len(node.value.split()) > 2
    ]


def catch_alls(tree: ast.Module) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    ]


def is_money(path: str) -> bool:
    return path.startswith(MONEY)


def is_pure(path: str) -> bool:
    return path.rsplit("/", 1)[-1] in ("rules.py", "model.py") and not path.startswith("settings/")


def test_no_float_comes_near_money() -> None:
    offenders = [f"{name(path)}:{line}" for path in SOURCES if is_money(name(path)) for line in floats(parsed(path))]
    assert offenders == []


@pytest.mark.parametrize(
    "planted",
    [
        "fee = amount * 0.015",
        "def due(price, rate):\n    return float(price) / rate",
        "tolerance: float = 0",
        "from decimal import Decimal\nvalue = Decimal('1')",
        "share = {'half': 5e-1}",
        "x = round(1j.real)",
        "seconds = (a - b).total_seconds()",
    ],
)
def test_c1_a_planted_float_is_found(planted: str) -> None:
    assert floats(ast.parse(planted)) != []


def test_rules_and_models_have_no_clock_no_chance_and_no_io() -> None:
    offenders = [
        f"{name(path)} imports {module}"
        for path in SOURCES
        if is_pure(name(path))
        for module in imported(parsed(path))
        if module.split(".")[0] in PURE_FORBIDDEN
    ]
    assert offenders == []


def test_rules_await_nothing() -> None:
    offenders = [
        f"{name(path)}:{node.lineno}"
        for path in SOURCES
        if is_pure(name(path))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.AsyncFunctionDef | ast.Await)
    ]
    assert offenders == []


def test_the_clock_is_read_in_one_place() -> None:
    readers = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "datetime.datetime.now")
    offenders = [name(path) for path in SOURCES if calls(parsed(path), *readers)]
    assert offenders == ["core/clock.py"]


def test_sql_lives_in_stores() -> None:
    homes = re.compile(r"(.*/)?(\w+_)?store\.py\Z|db/\w+\.py\Z|watch/keys\.py\Z")
    offenders = [
        f"{name(path)}:{line}" for path in SOURCES if not homes.match(name(path)) for line in sql(parsed(path))
    ]
    assert offenders == []


@pytest.mark.parametrize(
    "planted",
    [
        'fetch("select id from stores")',
        'execute(f"update {table} set a = 1")',
        'Q = """\nwith a as (select 1) select"""',
    ],
)
def test_planted_sql_is_found(planted: str) -> None:
    assert sql(ast.parse(planted.replace("{table}", "stores"))) != []


def test_everything_is_caught_only_where_that_was_decided() -> None:
    offenders = [name(path) for path in SOURCES if catch_alls(parsed(path))]
    assert offenders == sorted(CATCH_ALLS)


def test_what_must_be_recorded_is_changed_through_one_door() -> None:
    stores = ("create_store", "change_store", "set_spread", "create_key", "revoke_key", "rotate_webhook_secret")
    doors = [f"stores.{deed}" for deed in stores] + ["wallets.add_wallet"]
    doors += [f"webhooks.{deed}" for deed in ("create_endpoint", "update_endpoint", "delete_endpoint")]
    names = tuple(door.rpartition(".")[2] for door in doors)
    offenders = [
        name(path)
        for path in SOURCES
        if calls(parsed(path), *doors) or {each.rpartition(".")[2] for each in imported(parsed(path))} & set(names)
    ]
    assert sorted(offenders) == ["flow/__init__.py", "flow/administration.py", "flow/wallet_changes.py"]


def test_families_never_import_each_other() -> None:
    families = [folder.name for folder in (KASSA / "chains").iterdir() if (folder / "__init__.py").exists()]
    offenders = [
        f"{name(path)} imports {module}"
        for family in families
        for path in sorted((KASSA / "chains" / family).rglob("*.py"))
        for module in imported(parsed(path))
        for other in families
        if other != family and module.startswith(f"kassa.chains.{other}")
    ]
    assert offenders == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [name(path) for path in SOURCES if path.read_text().strip() and ast.get_docstring(parsed(path)) is None]
    assert silent == []


def test_no_file_names_a_package_registry() -> None:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    offenders = []
    for line in listed.stdout.decode().splitlines():
        path = ROOT / line
        if path.is_file() and not path.is_symlink():
            text = path.read_bytes()
            offenders += [f"{line}: {host}" for host in REGISTRY_HOSTS if host.encode() in text]
    assert offenders == []


def test_every_dependency_is_pinned_by_hash() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
        loose = [entry.split("\n")[0] for entry in entries if not entry.startswith("#")]
        assert [line for line in loose if "==" not in line] == []
        assert [e.split("\n")[0] for e in entries if not e.startswith("#") and "--hash=sha256:" not in e] == []
