"""Two versions of the program behind one proxy: each process serves the files that pages of the other ask for."""

import re
import shutil
from pathlib import Path

import aiohttp

import kassa
from kassa.chains.bitcoin.devnode import DevNode
from tests.e2e.program import Program, installed
from tests.tools.ports import free_port

PAGES = ("/i/inv_unknown", "/dashboard/sign-in")


def another_version(folder: Path) -> Path:
    """Return the path of a copy of the program in which each file that pages load holds something else."""
    shutil.copytree(Path(kassa.__file__).parent, folder / "kassa", ignore=shutil.ignore_patterns("__pycache__"))
    for static in ("checkout", "dashboard"):
        for file in (folder / "kassa" / static / "static").iterdir():
            comment = "<!-- of another version -->\n" if file.suffix == ".svg" else "/* of another version */\n"
            file.write_text(file.read_text() + comment)
    colours = folder / "kassa" / "checkout" / "colours.py"
    written = colours.read_text()
    colours.write_text(written.replace('f":root{{--go', 'f":root{{--other:1;--go'))
    assert colours.read_text() != written
    return folder


async def files_of(session: aiohttp.ClientSession, url: str, paths: tuple[str, ...]) -> set[str]:
    """Return what some pages load."""
    found = set[str]()
    for path in paths:
        async with session.get(url + path) as answer:
            found.update(re.findall(r'(?:href|src)="([^"]+\.[0-9a-f]{16}\.[a-z]+)"', await answer.text()))
    return found


async def seen(session: aiohttp.ClientSession, url: str) -> tuple[int, dict[str, str], bytes]:
    """Return a file with its headers, but for what differs in each answer."""
    async with session.get(url) as answer:
        told = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, {k: v for k, v in told.items() if k not in ("x-request-id", "date")}, await answer.read()


async def start(program: Program, name: str, port: int, **environment: str) -> None:
    places = {"KASSA_HTTP__LISTEN": f"127.0.0.1:{port}", "KASSA_HTTP__OPS_LISTEN": f"127.0.0.1:{free_port()}"}
    await program.start("api", name=name, environment=places | environment)

    async def listens() -> bool:
        return '"event": "listening"' in program.log(name)

    await program.until(listens, seconds=150)


async def test_a_page_of_one_version_finds_its_files_at_a_process_of_another(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    async with installed(tmp_path / "kassa", bitcoind, database_url) as program, aiohttp.ClientSession() as session:
        await program.start("watch")  # an invoice needs a network that is followed
        await start(program, "first", program.port)
        await program.ready()
        await program.open_store()
        status, told = await program.call("PATCH", "/v1/store", {"version": 1, "colour": "#ff6600"})
        assert status == 200, told
        link = {"title": "Two coffees", "amount": "50.00", "currency": "EUR"}
        status, made = await program.call("POST", "/v1/payment-links", link)
        assert status == 201, made
        invoice = await program.invoice()
        pages = (*PAGES, f"/l/{made['id']}", f"/i/{invoice['id']}")
        await program.stop("first")  # the next one knows the colour as it starts
        await start(program, "old", program.port)
        port = free_port()
        await start(program, "new", port, PYTHONPATH=str(another_version(tmp_path / "other")))

        old, new = f"http://127.0.0.1:{program.port}", f"http://127.0.0.1:{port}"
        of_old, of_new = await files_of(session, old, pages), await files_of(session, new, pages)
        assert len(of_old) == len(of_new) == 8  # style, icon, scripts of each part, and the store's colour
        assert not of_old & of_new
        for mine, theirs, files in ((old, new, of_old), (new, old, of_new)):
            for file in files:
                expected = await seen(session, mine + file)
                assert expected[0] == 200
                assert await seen(session, theirs + file) == expected, file
        async with session.get(new + "/i/assets/checkout.0123456789abcdef.css") as answer:
            assert (answer.status, answer.headers["cache-control"]) == (404, "no-store")
