"""Questions of the same moment, asked of the database together: a round trip costs more than most answers."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import asyncpg

from kassa.core.errors import KassaError
from kassa.db.faults import DATABASE_AWAY

K = TypeVar("K")
V = TypeVar("V")

MOST = 100
"""Questions in one query."""


class Batch(Generic[K, V]):
    """Asks one kind of question: `ask` gets keys, repeats among them, and returns their answers in the same order.

    While a query runs, whoever comes waits for the next one, which asks for all of them. It begins before the answers
    of the one before are handed out: the database has work meanwhile. No question is answered by a query that began
    before it was put: nothing is kept, so nothing grows old.
    """

    def __init__(self, ask: Callable[[Sequence[K]], Awaitable[Sequence[V]]]) -> None:
        self._ask = ask
        self._waiting: deque[tuple[K, asyncio.Future[V]]] = deque()
        self._asking: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V:
        """Return the answer to `key`; raises what asking for it raises."""
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, future))
        if self._asking is None:
            # Nobody's own task: whoever gives up must not take along those who were asked for with it.
            self._keep(self._begin())
        return await future

    def _keep(self, work: "Coroutine[Any, Any, None]", places: "Sequence[tuple[K, asyncio.Future[V]]]" = ()) -> None:
        self._asking = asyncio.create_task(work)
        self._asking.add_done_callback(partial(self._ended, places))

    def _ended(self, places: "Sequence[tuple[K, asyncio.Future[V]]]", task: "asyncio.Task[None]") -> None:
        """Let nobody wait for a task that was cancelled, perhaps before its first step, or failed."""
        fault = ConnectionAbortedError("nobody asks any more") if task.cancelled() else task.exception()
        if fault is not None:
            _tell(places, fault)  # it may have been written, as after a lost connection
            if self._asking is task:
                self._ask_next()

    async def _begin(self) -> None:
        # One turn of the loop, in which whoever is about to ask does: a query costs more than a key more in it.
        await asyncio.sleep(0)
        self._ask_next()

    def _ask_next(self) -> None:
        places: list[tuple[K, asyncio.Future[V]]] = []
        while self._waiting and len(places) < MOST:
            place = self._waiting.popleft()
            if not place[1].done():
                places.append(place)
        self._asking = None
        if places:
            asked = asyncio.ensure_future(self._ask([key for key, _ in places]))  # noqa: RUF006 handed on to who keeps it
            self._keep(self._hand_out(places, asked), places)

    async def _hand_out(self, places: "Sequence[tuple[K, asyncio.Future[V]]]", asked: Awaitable[Sequence[V]]) -> None:
        told = await _outcome(asked)
        if isinstance(told, BaseException) and len(places) > 1 and _is_refusal(told):
            for place in places:
                _tell([place], await _outcome(self._ask([place[0]])))
        self._ask_next()
        _tell(places, told)


async def _outcome(asked: Awaitable[Sequence[V]]) -> Sequence[V] | BaseException:
    # Whatever fault it is, it belongs to those who wait, and to nobody here.
    (told,) = await asyncio.gather(asked, return_exceptions=True)
    return told


def _tell(places: "Sequence[tuple[K, asyncio.Future[V]]]", told: Sequence[V] | BaseException) -> None:
    for number, (_, future) in enumerate(places):
        if future.done():
            continue
        if isinstance(told, BaseException):
            future.set_exception(told)
        else:
            future.set_result(told[number])


def _is_refusal(fault: BaseException) -> bool:
    # Surely nothing was written, and perhaps for the sake of one of many. After a lost connection nobody knows.
    return isinstance(fault, KassaError | asyncpg.PostgresError) and not isinstance(fault, DATABASE_AWAY)
