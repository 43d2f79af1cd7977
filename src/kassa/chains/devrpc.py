"""JSON-RPC to a node under command: single calls and batches over one session."""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import aiohttp

from kassa.core.errors import SandboxError

Json = Any  # a node's answer, taken apart at once by the verb that asked
_BATCH = 500


class DevRpc:
    """Calls one node. An amount in an answer is a `Decimal`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def call(self, method: str, *params: object) -> Json:
        """Call one method; raise `SandboxError` with the node's words and code when it refuses."""
        answer = await self._post({"jsonrpc": "2.0", "method": method, "params": params, "id": 0})
        return _result(method, answer)

    async def named(self, method: str, **params: object) -> Json:
        """Call one method with its parameters by name."""
        return _result(method, await self._post({"jsonrpc": "2.0", "method": method, "params": params, "id": 0}))

    async def each(self, method: str, calls: Iterable[Sequence[object]]) -> list[Json]:
        """Call one method many times in batches, in order; raise `SandboxError` at the first refusal."""
        results: list[Json] = []
        rest = iter(calls)
        while part := list(islice(rest, _BATCH)):
            answers = await self._post(
                [
                    {"jsonrpc": "2.0", "method": method, "params": params, "id": number}
                    for number, params in enumerate(part)
                ]
            )
            results += [_result(method, answer) for answer in answers]
        return results

    async def close(self) -> None:
        """Close the session; the next call opens another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(self, body: object) -> Json:
        if self._session is None:
            # The node closes what was idle for 30 seconds: be the first to do so.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(keepalive_timeout=15), timeout=aiohttp.ClientTimeout(total=300)
            )
        try:
            async with self._session.post(self._url, json=body) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SandboxError(f"the development node does not answer: {error!r}") from error
        try:
            return json.loads(text, parse_float=Decimal)
        except ValueError as error:
            raise SandboxError(f"the development node answers {response.status} {text[:80]!r}") from error


def _result(method: str, answer: Json) -> Json:
    error = answer.get("error")
    if error is not None:
        raise SandboxError(f"the development node refuses {method}: {error['message']} ({error['code']})")
    return answer["result"]
