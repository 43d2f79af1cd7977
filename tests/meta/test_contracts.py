"""What was compiled is what is in the tree: an artifact names the hash of each source that went into it."""

import hashlib
import re

from contracts import build
from tests.contracts.deploy import artifact

SOURCES = {path.relative_to(build.ROOT).as_posix(): path for path in build.SOURCES.rglob("*.sol")}
CONTRACTS = sorted(
    (source, name)
    for source, path in SOURCES.items()
    for name in re.findall(r"^contract (\w+)", path.read_text("utf-8"), re.MULTILINE)
)


def test_every_contract_was_compiled_from_the_sources_in_the_tree() -> None:
    assert CONTRACTS
    stale = [
        f"{name} (run make contracts)"
        for source, name in CONTRACTS
        for made in [artifact(name)]
        if made["source"] != source
        or made["compiler"] != build.COMPILER
        or any(
            path not in SOURCES or hashlib.sha256(SOURCES[path].read_bytes()).hexdigest() != sha256
            for path, sha256 in made["sha256"].items()
        )
    ]
    assert stale == []


def test_no_artifact_is_left_of_a_contract_that_is_gone() -> None:
    kept = {path.stem for path in (build.SOURCES / "artifacts").glob("*.json")}
    assert kept == {name for _, name in CONTRACTS} - set(build.PACKAGED)
