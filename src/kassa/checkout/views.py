"""What the pages and streams of invoices are made of: read together, and kept for a moment where reading takes long.

Where an invoice stands is worked out from all of its payments. Anybody may send as many as they like to its address,
and then look as often as they like: the work of one look must not be had for nothing again and again.
"""

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic

from kassa import flow
from kassa.core.ids import InvoiceId
from kassa.db.batch import Batch
from kassa.house import House

KEPT_MS_EACH = 1.0
"""So long, for each of its payments, a view is kept of an invoice that has more of them than are shown. Working one out
takes 0.05 to 0.1 ms a payment: no invoice can take more than a tenth of a process, whoever looks at it."""


class Views:
    """The views of this process."""

    def __init__(self, house: House) -> None:
        self._house = house
        # Pages that are asked for in one moment are read together.
        self._batch = Batch(self._answer)
        self._kept: dict[InvoiceId, tuple[float, flow.PayerView]] = {}  # with until when; monotonic

    async def get(self, invoice_id: InvoiceId) -> flow.PayerView | None:
        """Return the view of an invoice; None for an unknown one."""
        return await self._batch.get(invoice_id)

    async def read(self, ids: Sequence[InvoiceId]) -> tuple[dict[InvoiceId, flow.PayerView], set[InvoiceId]]:
        """Return the views of invoices, by id, and whose were kept: news may be missing there."""
        self._kept = {id_: held for id_, held in self._kept.items() if held[0] > monotonic()}
        kept = {id_: self._kept[id_][1] for id_ in ids if id_ in self._kept}
        now = self._house.clock.now()
        found = {id_: replace(view, now=now) for id_, view in kept.items()}
        asked = list(dict.fromkeys(id_ for id_ in ids if id_ not in kept))
        # Also where all are kept: whoever looks waits for the database as others do, and gets no more turns than they.
        async with self._house.database.snapshot(5) as tx:
            fresh = await flow.payer_views(tx, self._house, asked, now)
        self._keep(fresh)
        return found | fresh, set(kept)

    def _keep(self, fresh: dict[InvoiceId, flow.PayerView]) -> None:
        for id_, view in fresh.items():
            if left_off := view.public["payments_left_off"]:
                count = left_off + len(view.public["payments"])
                self._kept[id_] = monotonic() + count * KEPT_MS_EACH / 1000, view

    async def _answer(self, ids: Sequence[InvoiceId]) -> list[flow.PayerView | None]:
        found, _ = await self.read(ids)
        return [found.get(id_) for id_ in ids]
