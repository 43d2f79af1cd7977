"""What is counted and timed while the work is done, under the names by which Prometheus scrapes it.

Everything here costs a microsecond or two, asks nobody, and has labels of few values: networks, nodes and methods from
the settings and the code, routes as templates. What only the database knows is read at a scrape (`kassa.metrics`).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from time import monotonic, perf_counter

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from kassa.core.errors import ChainInvalid, KassaError

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody reads

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
_NETWORK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LATELY_SECONDS = 900
_DEPTHS = (1, 2, 3, 4, 6, 8, 12, 24, 50, 100)
_SETTLING = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 43_200, 86_400)

HTTP_SECONDS = Histogram(
    "kassa_http_request_seconds", "From a request's head to the head of its answer.", ["method", "route"], buckets=_FAST
)
HTTP_REQUESTS = Counter("kassa_http_requests", "Answers by route template and status.", ["method", "route", "status"])

TRANSACTION_SECONDS = Histogram(
    "kassa_db_transaction_seconds", "Transactions, from their begin to commit or rollback.", buckets=_FAST
)
JOINED_SECONDS = Histogram(
    "kassa_db_joined_question_seconds", "Questions that share a statement, with the wait for it.", buckets=_FAST
)
ACQUIRE_SECONDS = Histogram("kassa_db_acquire_seconds", "Waits for a connection of the pool.", buckets=_FAST)
LOST_TRANSACTIONS = Counter(
    "kassa_db_lost_transactions", "Transactions that lost against another one and were tried again.", ["reason"]
)

NODE_CALL_SECONDS = Histogram(
    "kassa_node_call_seconds", "Calls to a node, by the (first) method of the request.", ["node", "method"],
    buckets=_NETWORK,
)  # fmt: skip
NODE_ERRORS = Counter(
    "kassa_node_call_errors", "Calls that failed: unavailable (try again) or invalid.", ["node", "method", "kind"]
)

BLOCK_SECONDS = Histogram(
    "kassa_block_scan_seconds", "Reading and searching one block, averaged over those read together.", ["network"],
    buckets=_NETWORK,
)  # fmt: skip
BLOCKS = Counter("kassa_blocks_applied", "Blocks that were added to our best chain.", ["network"])
REORG_DEPTH = Histogram("kassa_reorg_depth_blocks", "Blocks undone by a reorganisation.", ["network"], buckets=_DEPTHS)
COMMIT_SECONDS = Histogram(
    "kassa_chain_commit_seconds", "Writing down what blocks did to payments and invoices.", ["network"], buckets=_FAST
)
MEMPOOL_WATCHED = Gauge(
    "kassa_mempool_watched_transfers", "Transfers of ours or conflicts with them in the last look.", ["network"]
)
MEMPOOL_SECONDS = Histogram("kassa_mempool_look_seconds", "Looks into the mempool.", ["network"], buckets=_NETWORK)

EVENTS = Counter("kassa_events", "Events published, by type.", ["type"])
SETTLE_SECONDS = Histogram(
    "kassa_payment_settle_seconds", "From when a payment was first seen until it settled.", ["network"],
    buckets=_SETTLING,
)  # fmt: skip
ATTEMPTS = Counter("kassa_delivery_attempts", "Posts of webhooks by what came of them.", ["result"])
ATTEMPT_SECONDS = Histogram("kassa_delivery_attempt_seconds", "Posts of webhooks.", buckets=_NETWORK)
RECEIVERS = Gauge(
    "kassa_receivers", "Receivers posted to within a quarter of an hour, by what came of the last post.", ["result"]
)
LOG_FAILURES = Counter("kassa_log_failures", "Writes of the log that failed: lines were lost.")
LOOP_FAILURES = Counter("kassa_loop_failures", "Endless loops that failed and were started again.", ["loop"])


def introduce(networks: Iterable[str], loops: Iterable[str], events: Iterable[str], results: Iterable[str]) -> None:
    """Show from the start, as zero, what may be counted: of what is born at one nobody sees the increase."""
    for network in networks:
        for each in (BLOCK_SECONDS, BLOCKS, REORG_DEPTH, COMMIT_SECONDS, MEMPOOL_WATCHED, MEMPOOL_SECONDS):
            each.labels(network)
        SETTLE_SECONDS.labels(network)
    for loop in loops:
        LOOP_FAILURES.labels(loop)
    for kind in events:
        EVENTS.labels(kind)
    for result in results:
        ATTEMPTS.labels(result)
    for reason in ("deadlock", "serialization"):
        LOST_TRANSACTIONS.labels(reason)


@contextmanager
def node_call(node: str, method: str) -> Iterator[None]:
    """Time what is asked of a node, and count how it failed."""
    began = perf_counter()
    observe = _calls(node, method)
    try:
        yield
    except KassaError as fault:
        NODE_ERRORS.labels(node, method, "invalid" if isinstance(fault, ChainInvalid) else "unavailable").inc()
        raise
    finally:
        observe(perf_counter() - began)


@cache
def _calls(node: str, method: str) -> Callable[[float], None]:
    for kind in ("invalid", "unavailable"):
        NODE_ERRORS.labels(node, method, kind)
    return NODE_CALL_SECONDS.labels(node, method).observe


class Posted:
    """What came of the last post to each receiver of late."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, bool]] = {}
        for result in ("delivered", "failed"):
            RECEIVERS.labels(result).set_function(partial(self._count, result == "delivered"))

    def note(self, receiver: str, *, delivered: bool) -> None:
        """Note what came of a post."""
        self._last[receiver] = monotonic(), delivered

    def _count(self, delivered: bool) -> int:
        since = monotonic() - _LATELY_SECONDS
        self._last = {receiver: last for receiver, last in self._last.items() if last[0] >= since}
        return sum(well is delivered for _, well in self._last.values())


def published(kind: str, network: str | None, seconds: float | None) -> None:
    """Count an event that was published; of a settled payment also how long it took."""
    EVENTS.labels(kind).inc()
    if network is not None and seconds is not None:
        SETTLE_SECONDS.labels(network).observe(seconds)


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Count an answer of the HTTP API."""
    count, observe = _answers(method, route, status)
    count()
    observe(seconds)


@cache  # finding the series by its labels costs as much again as adding to it
def _answers(method: str, route: str, status: int) -> tuple[Callable[[], None], Callable[[float], None]]:
    return HTTP_REQUESTS.labels(method, route, str(status)).inc, HTTP_SECONDS.labels(method, route).observe
