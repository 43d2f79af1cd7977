"""Compile the contracts with solc from npm, and write what is committed: one artifact for each contract.

Run it with `make contracts`. It needs node; the compiler, one file of JavaScript, is fetched and checked against its
hash. The same sources give the same bytes.
"""

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from kassa.core.errors import SandboxError
from kassa.sandbox import npm
from kassa.sandbox.command import run

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "contracts"
SOLC = npm.Package(
    "solc", "0.8.37", "ieUYdPDRGNKMsZpCfi9tY64Q+ASoL8tyhLuvf9cFiqDs+6ijlx8Wn2CRi0N71AlCvRx0V092rlUYu3b3PuxWlA=="
)
EVM = "paris"  # the oldest that has all we use, so that what is compiled runs everywhere
COMPILER = f"solc {SOLC.version}, evm {EVM}"
PACKAGED = {"DemoToken": ROOT / "src" / "kassa" / "chains" / "evm" / "demo_token.json"}
"""Where an artifact lives that the installed Kassa needs."""
COMPILE = """\
const fs = require("fs");
const [compiler, input] = process.argv.slice(1);
const compile = require(compiler).cwrap("solidity_compile", "string", ["string", "number", "number"]);
process.stdout.write(compile(fs.readFileSync(input, "utf-8"), 0, 0));
"""

Json = dict[str, Any]


def main() -> int:
    """Write every artifact; return 1 when that was not possible, having said why."""
    sources = {path.relative_to(ROOT).as_posix(): path for path in sorted(SOURCES.rglob("*.sol"))}
    try:
        answer = compiled(sources)
    except SandboxError as error:
        print(f"contracts: {error}", file=sys.stderr)
        return 1
    complaints = [item for item in answer.get("errors", ()) if not expected(item)]
    for complaint in complaints:
        print(complaint["formattedMessage"], file=sys.stderr)
    if complaints:
        return 1
    for source in sources:
        for name, contract in answer["contracts"].get(source, {}).items():
            write(source, name, contract)
    return 0


def compiled(sources: dict[str, Path]) -> Json:
    """Return the compiler's answer in its standard JSON; raise `SandboxError` when it cannot be had or run."""
    node = shutil.which("node")
    if node is None:
        raise SandboxError("node is missing: install Node.js and start again")
    settings = {
        "evmVersion": EVM,
        "optimizer": {"enabled": True, "runs": 200},
        # No hash of the source inside the code: a comment changes no bytecode.
        "metadata": {"bytecodeHash": "none", "appendCBOR": False},
        "outputSelection": {"*": {"*": ["abi", "metadata", "evm.bytecode.object", "evm.methodIdentifiers"]}},
    }
    texts = {name: {"content": path.read_text("utf-8")} for name, path in sources.items()}
    with tempfile.TemporaryDirectory(prefix="kassa-solc-") as temporary:
        work = Path(temporary)
        compiler, question = work / "compiler" / "soljson.js", work / "input.json"
        npm.extract(SOLC, "package/soljson.js", compiler, work, print)
        question.write_text(json.dumps({"language": "Solidity", "sources": texts, "settings": settings}))
        answer: Json = json.loads(run([node, "-e", COMPILE, str(compiler), str(question)]))
    return answer


def expected(complaint: Json) -> bool:
    """Say whether a complaint is one that we provoke: `selfdestruct` is what SelfDestructPayer is about."""
    return "SelfDestructPayer" in complaint["sourceLocation"]["file"] and complaint["errorCode"] == "5159"


def write(source: str, name: str, contract: Json) -> None:
    """Write one contract's artifact, unless the contract is abstract."""
    bytecode = contract["evm"]["bytecode"]["object"]
    if not bytecode:
        return
    used = json.loads(contract["metadata"])["sources"]
    artifact = {
        "contract": name,
        "source": source,
        "compiler": COMPILER,
        "sha256": {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in sorted(used)},
        "selectors": contract["evm"]["methodIdentifiers"],
        "abi": contract["abi"],
        "bytecode": "0x" + bytecode,
    }
    target = path(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(layout(artifact))
    print(f"contracts: {target.relative_to(ROOT)}")


def path(name: str) -> Path:
    """Return where the artifact of a contract lives."""
    return PACKAGED.get(name, SOURCES / "artifacts" / f"{name}.json")


def layout(artifact: Json) -> str:
    """Return an artifact as JSON with one line for each function, so that a change can be read."""
    abi = ",\n".join("    " + json.dumps(item) for item in artifact["abi"])
    text = json.dumps({**artifact, "abi": ["ABI"]}, indent=2)
    return text.replace('    "ABI"', abi) + "\n"


if __name__ == "__main__":
    sys.exit(main())
