"""Connections and transactions. Only `api`, `workers` and the command line open a transaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from random import random
from time import perf_counter
from typing import Any, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import Pool, PoolConnectionProxy

from kassa import measures
from kassa.db.batch import Batch
from kassa.db.life import Lives

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
Tx: TypeAlias = "PoolConnectionProxy[Any]"

IDLE_SECONDS = 20
"""A transaction whose process is silent so long is rolled back: who froze, or lost power, must not keep its locks."""
END_SECONDS = 5
"""How long a transaction in hand may still take when its process is told to stop: half of what a stop may take."""
CONNECT_SECONDS = 10
"""Whoever gets no answer within this time starts anew: what was sent may have been lost on a way that works again."""
ATTEMPTS = 8  # of a transaction that lost against another one
_LOST = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_said: ContextVar[list[Callable[[], object]] | None] = ContextVar("said", default=None)


def say_after_commit(say: Callable[[], object]) -> None:
    """Log something of the transaction in hand once it is true: not when it is rolled back, nor twice when it is tried
    again. For the log alone; what must happen is a row.
    """
    waiting = _said.get()
    if waiting is None:
        say()
    else:
        waiting.append(say)


class Database:
    """A pool of connections to one PostgreSQL."""

    def __init__(self, pool: "Pool[Any]", lives: Lives) -> None:
        self.pool = pool
        self.lives = lives
        self._batches: dict[object, Batch[Any, Any]] = {}  # by question, each with types of its own

    @classmethod
    async def open(cls, url: str, *, connections: int = 10, name: str = "kassa") -> "Database":
        """Connect to the PostgreSQL at `url`; raises what asyncpg raises when it cannot."""
        lives = Lives()
        pool = await asyncpg.create_pool(
            url,
            init=lives.check,
            min_size=1,
            max_size=connections,
            timeout=CONNECT_SECONDS,
            command_timeout=60,
            reset=_leave_as_it_is,
            server_settings={
                "application_name": name,
                "timezone": "UTC",
                "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
            },
        )
        return cls(pool, lives)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """Open one transaction: committed at the end of the block, rolled back by an exception."""
        asked = perf_counter()
        async with self.pool.acquire() as connection:
            began = perf_counter()
            measures.ACQUIRE_SECONDS.observe(began - asked)
            said: list[Callable[[], object]] = []
            outer = _said.get()
            _said.set(said)
            try:
                async with connection.transaction():
                    yield connection
            finally:
                _said.set(outer)
                measures.TRANSACTION_SECONDS.observe(perf_counter() - began)
        for say in said:
            say()

    @asynccontextmanager
    async def snapshot(self, wait_seconds: float | None = None) -> AsyncIterator[Tx]:
        """Read as of one moment: statements of their own would see both sides of what is committed between them.

        Nothing can be written. Raises `TimeoutError` when no connection was free for `wait_seconds`.
        """
        async with (
            self.pool.acquire(timeout=wait_seconds) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def run(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `work` in a transaction, and again from its start when it lost against another (deadlock, serialisation).

        `work` must have no effect outside the transaction. The last loss is raised.
        """
        for attempt in range(1, ATTEMPTS):
            try:
                async with self.transaction() as tx:
                    return await work(tx)
            except _LOST as loss:
                _note(loss)
                await asyncio.sleep(random() * 0.01 * 2**attempt)
        async with self.transaction() as tx:
            return await work(tx)

    async def run_to_end(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Like `run`; who is cancelled meanwhile first lets the transaction come to its end, for some seconds."""
        running = asyncio.create_task(self.run(work))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running], timeout=END_SECONDS)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            raise

    async def ask(self, question: "Callable[[Pool[Any], Sequence[K]], Awaitable[Sequence[V]]]", key: K) -> V:
        """Return the answer to `key` of a question that takes many; those of one moment share a round trip.

        A question may write: each is one statement, committed by itself, and tried again like a transaction by `run`.
        """
        batch = self._batches.get(question)
        if batch is None:
            batch = self._batches[question] = Batch(partial(question, self.pool))
        for attempt in range(1, ATTEMPTS):
            try:
                began = perf_counter()
                try:
                    return await batch.get(key)  # type: ignore[no-any-return]  # one dictionary for every question's types
                finally:
                    measures.JOINED_SECONDS.observe(perf_counter() - began)
            except _LOST as loss:
                _note(loss)
                await asyncio.sleep(random() * 0.01 * 2**attempt)
        return await batch.get(key)  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Close every connection, those in use after their transaction ends."""
        await self.pool.close()


def _note(loss: Exception) -> None:
    reason = "deadlock" if isinstance(loss, asyncpg.DeadlockDetectedError) else "serialization"
    measures.LOST_TRANSACTIONS.labels(reason).inc()


async def _leave_as_it_is(_connection: object) -> None:
    # asyncpg's reset query costs a round trip at every release, and we set nothing on a session that must be undone.
    return None
