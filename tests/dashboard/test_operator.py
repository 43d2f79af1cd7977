"""What the operator does for people at the command line, as the dashboard then sees it."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from pathlib import Path
from urllib.parse import urlsplit

from kassa.people.model import Role
from tests.dashboard.visitor import Premises
from tests.e2e.program import KASSA


async def kassa_user(database_url: str, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run `kassa user …`; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        KASSA, "user", *arguments, stdout=PIPE, stderr=PIPE,
        env={**os.environ, "KASSA_DATABASE_URL": database_url, "KASSA_DATA_DIR": str(folder)},
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, (out + err).decode()


async def test_a_link_is_made_for_who_is_known_and_lets_them_in_once(
    premises: Premises, database_url: str, tmp_path: Path
) -> None:
    before = await premises.member(Role.OWNER)
    code, said = await kassa_user(database_url, tmp_path, "link", "--email", "nobody@shop.example")
    assert (code, "nobody signs in with 'nobody@shop.example'" in said) == (1, True)
    code, said = await kassa_user(database_url, tmp_path, "link", "--email", "Owner@shop.example", "--lost", "--json")
    assert code == 0, said
    path = urlsplit(json.loads(said.splitlines()[-1])["link"]).path

    owner, second = premises.visitor(), premises.visitor()
    await second.open(path)
    await owner.open(path)
    await owner.submit(path)
    assert owner.seen.url == "/dashboard/enrol"
    assert (await before.open(premises.at("invoices"))).url.startswith("/dashboard/sign-in")
    assert (await second.submit(path)).status == 400
    acts = await premises.house.database.pool.fetch("select actor, kind from acts order by number desc limit 2")
    assert [act["kind"] for act in acts] == ["person.factors_voided", "invitation.made"]
    assert acts[1]["actor"].startswith("operator ")
