"""E45: the role that hears from strangers takes orders where it can reach nobody; who can reach more is told so."""

import json
import shutil
import subprocess
import sys
from asyncio import to_thread
from pathlib import Path
from typing import Any

import pytest

from kassa.chains.bitcoin.devnode import DevNode
from tests.e2e.program import Program, installed

WITHOUT_NETWORK = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
CALL = """
import sys, urllib.request
asked = urllib.request.Request(sys.argv[1], sys.argv[2].encode() or None, {"Authorization": "Bearer " + sys.argv[3],
    "Content-Type": "application/json"})
print(urllib.request.urlopen(asked, timeout=20).read().decode())
"""


def is_possible() -> bool:
    """Tell whether we may make a network of our own."""
    tools = all(shutil.which(name) for name in ("unshare", "nsenter", "ip"))
    return tools and subprocess.run([*WITHOUT_NETWORK, "true"], capture_output=True, check=False).returncode == 0


def call(kassa: Program, path: str, body: str = "") -> Any:  # JSON
    """Ask the API from within its own network."""
    within = ["nsenter", f"--net=/proc/{kassa.pid('api')}/ns/net", sys.executable, "-c", CALL]
    answer = subprocess.run([*within, kassa.url + path, body, kassa.key], capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


async def test_e45_orders_are_taken_where_the_api_reaches_nobody(
    bitcoind: DevNode, database_url: str, tmp_path: Path
) -> None:
    if not is_possible():
        pytest.skip("no network namespaces here")
    async with installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        await kassa.open_store()
        await kassa.start("watch", "work")
        await kassa.start("api", before=WITHOUT_NETWORK)
        await kassa.until(lambda: is_ready(kassa), seconds=120)
        made = await to_thread(call, kassa, "/v1/invoices", '{"amount": "50.00", "currency": "EUR"}')
        await bitcoind.fund(made["payment_options"][0]["address"], 100_000)

        async def is_seen() -> bool:
            shown = await to_thread(call, kassa, f"/v1/invoices/{made['id']}")
            return bool(shown["status"] == "processing")

        await kassa.until(is_seen)
        await kassa.stop()


async def is_ready(kassa: Program) -> bool:
    try:
        return bool(await to_thread(call, kassa, "/health/ready"))
    except subprocess.CalledProcessError:
        return False


LOOKS = """
import asyncio, json, socket, subprocess
from kassa.doctor.egress import look_outside
def look(role, change=""):
    subprocess.run(change.split(), check=True) if change else None
    print(json.dumps([[each.verdict, each.detail] for each in asyncio.run(look_outside(role))]))
look("api")
look("watch", "ip -6 route add default dev lo")
look("api", "ip route add default dev lo")
look("work")
look("api", "ip -6 route replace prohibit 2000::/3")
look("api", "ip route add prohibit 192.0.2.0/24")
subprocess.run("ip address add 169.254.169.254/32 dev lo".split(), check=True)
with socket.create_server(("169.254.169.254", 80)):
    look("work")
"""


def test_e45_the_doctor_says_what_can_be_reached_without_need() -> None:
    if not is_possible():
        pytest.skip("no network namespaces here")
    asked = [*WITHOUT_NETWORK, sys.executable, "-c", LOOKS]
    told = subprocess.run(asked, capture_output=True, text=True, check=True)
    shut = "this machine lets nothing out to the internet from here"
    more = "the internet can be reached over %s, which the role %s does not need"
    nobody = ["ok", "no host that hands them out answers here"]
    assert [json.loads(line) for line in told.stdout.splitlines()] == [
        [["ok", shut], nobody],
        [["warn", more % ("IPv6", "watch")], nobody],
        [["warn", more % ("IPv4 and IPv6", "api")], nobody],
        [["ok", "the internet can be reached, as webhooks and rates need; the roles api and watch do not"], nobody],
        [["warn", more % ("IPv4", "api")], nobody],
        [["ok", shut], nobody],
        [["ok", f"{shut}; webhooks and rates need it"], ["warn", "169.254.169.254 answers this process"]],
    ]
