"""What the operator does for people at the command line, as the dashboard then sees it."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kassa import flow
from kassa.alerts import store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.people.model import Role
from kassa.wallets import seal_store as seals
from tests.dashboard.visitor import Premises
from tests.e2e.program import KASSA
from tests.house import BITCOIN, TPUB, add_store


async def kassa_user(database_url: str, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run `kassa user …`; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        KASSA, "user", *arguments, stdout=PIPE, stderr=PIPE,
        env={**os.environ, "KASSA_DATABASE_URL": database_url, "KASSA_DATA_DIR": str(folder)},
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, (out + err).decode()


OF_OPERATOR = "The operator of this Kassa should look at it: nobody sends"


@pytest.mark.parametrize("role", list(Role))
async def test_a_member_learns_of_their_own_store_and_owners_of_the_operators_troubles_by_kind_alone(
    premises: Premises, role: Role
) -> None:
    async with premises.house.database.transaction() as tx:
        other = await add_store(tx, premises.house, key=f"wpkh({TPUB}/7/*)")
        now = premises.clock.now()
        for kind, reason, store, network in (
            (Kind.CREDIT_LOST, "ours", premises.store.id, None),
            (Kind.NETWORK_HALTED, "of all", None, BITCOIN),
            (Kind.WALLET_CHANGE, "of a neighbour", other.id, None),
            (Kind.WALLETS_RESTORED, "of a neighbour here", other.id, BITCOIN),
            (Kind.NODE_STALLED, "of elsewhere", None, "litecoin"),
            (Kind.NOBODY_SENDS, "at sto_secret", None, None),
        ):
            await alerts.open_alert(tx, Finding(kind, reason, Severity.WARNING, reason, store, network, "inside"), now)
        # Of addresses that may be a neighbour's, all are told how many there are.
        await flow.on_delegates(tx, premises.house, BITCOIN, {"0xours": "0xcode"}, now)
    visitor = await premises.member(role)
    await visitor.open(premises.at("overview"))
    seen = visitor.seen.words
    assert ("ours" in seen, "of all" in seen, OF_OPERATOR in seen) == (True, True, role is Role.OWNER)
    listed = (await visitor.open(premises.at("alerts?status=any"))).words
    assert ("ours" in listed, "of all" in listed, "nobody sends" in listed.lower()) == (True, True, False)
    assert f"1 of our addresses on {BITCOIN} delegate" in seen
    for hidden in ("0xours", "neighbour", "elsewhere", "sto_secret", "inside", other.id):
        assert hidden not in seen + listed
    ids = {
        row["subject"]: row["id"] for row in await premises.house.database.pool.fetch("select id, subject from alerts")
    }
    for subject in ("of a neighbour", "of a neighbour here", "of elsewhere", "at sto_secret"):
        assert (await visitor.open(premises.at(f"alerts/{ids[subject]}"))).status == 404


async def test_a_link_is_made_for_who_is_known_and_lets_them_in_once(
    premises: Premises, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "address-key").write_text(bytes(32).hex())  # by which links are sealed: that of the house
    (tmp_path / "address-key").chmod(0o600)
    async with premises.house.database.transaction() as tx:
        await seals.adopt_key(tx, premises.house.seal)
    before = await premises.member(Role.OWNER)
    key = os.open(tmp_path / "address-key", os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(key, bytes(32).hex().encode())  # of the house's own seal
    os.close(key)
    await premises.house.database.run(lambda tx: seals.adopt_key(tx, premises.house.seal))
    code, said = await kassa_user(database_url, tmp_path, "link", "--email", "nobody@shop.example")
    assert (code, "nobody signs in with 'nobody@shop.example'" in said) == (1, True), said
    code, said = await kassa_user(database_url, tmp_path, "link", "--email", "Owner@shop.example", "--lost", "--json")
    assert code == 0, said
    path = urlsplit(json.loads(said.splitlines()[-1])["link"]).path

    owner, second = premises.visitor(), premises.visitor()
    await second.open(path)
    await owner.open(path)
    await owner.submit(path, password="another long password")
    assert owner.seen.url == "/dashboard/enrol"
    assert (await before.open(premises.at("invoices"))).url.startswith("/dashboard/sign-in")
    assert (await second.submit(path)).status == 400
    acts = await premises.house.database.pool.fetch("select actor, kind from acts order by number desc limit 3")
    assert [act["kind"] for act in acts] == ["session.ended", "person.factors_voided", "invitation.made"]
    assert acts[2]["actor"].startswith("operator ")
