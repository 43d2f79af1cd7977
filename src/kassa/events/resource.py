"""An event as the outside sees it."""

import msgspec

from kassa.core.clock import rfc3339
from kassa.events.model import Event


def event_resource(event: Event, *, livemode: bool) -> bytes:
    """Write the event as JSON. `data.object` is the stored text itself, byte for byte."""
    return msgspec.json.encode(
        {
            "object": "event",
            "id": event.id,
            "type": event.type,
            "sequence": event.sequence,
            "created_at": rfc3339(event.created_at),
            "livemode": livemode,
            "data": {"object": msgspec.Raw(event.object.encode())},
        }
    )
