"""Nobody reads the log: the program goes on, counts what is lost, and writes whole lines again to whoever reads."""

import asyncio
import fcntl
import json
import os
import re
from pathlib import Path

from kassa.chains.bitcoin.devnode import DevNode
from tests.e2e.program import KASSA, installed

LEAST_PIPE = 4_096
LOST = re.compile(r"^kassa_log_failures_total (\S+)", re.MULTILINE)


async def test_a_log_that_nobody_reads_holds_nothing_up(bitcoind: DevNode, database_url: str, tmp_path: Path) -> None:
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, LEAST_PIPE)
    os.set_blocking(reads, False)
    async with installed(tmp_path / "kassa", bitcoind, database_url) as kassa:
        kassa._processes["up"] = await asyncio.create_subprocess_exec(
            KASSA, "up", "--config", str(kassa.config), stdout=writes, stderr=writes,
            env=os.environ | {"KASSA_LOG__LEVEL": "debug", "KASSA_LOG__FORM": "json"},
        )  # fmt: skip
        os.close(writes)
        await kassa.ready()
        await kassa.open_store()
        async with asyncio.timeout(150):  # whoever waits for a reader waits for ever
            for _ in range(60):
                await kassa.invoice()
        lost = LOST.search(await kassa.metrics())
        assert lost is not None
        assert float(lost[1]) > 0

        os.read(reads, 1 << 20)
        await kassa.invoice()
        text = ""
        async with asyncio.timeout(60):
            while text.count("\n") < 3:
                await asyncio.sleep(0.2)
                try:
                    text += os.read(reads, 1 << 20).decode()
                except BlockingIOError:
                    await kassa.invoice()
        whole = [line for line in text.splitlines()[1:-1] if line]
        assert whole
        assert all(json.loads(line)["event"] for line in whole)
        assert await kassa.stop() == [0]
    os.close(reads)
