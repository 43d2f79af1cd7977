"""A bar chart as SVG, drawn here: rectangles and texts, no style and no script in them.

Only the bars are SVG, stretched to whatever width there is; words stand beside them as text, as large as all other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

HEIGHT, STEP = 120, 10
_GAP = 2
_MANY = 10
"""From so many bars on, only the first, the middle and the last are named below."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its height in units of anything, its name, and what a pointer shows."""

    units: int
    name: str
    words: str


def bars(title: str, found: Sequence[Bar], most_words: str) -> Markup:
    """Draw bars from left to right, the highest as high as the chart; `most_words` names that height."""
    most = max((bar.units for bar in found), default=0)
    width = STEP * max(len(found), 1)
    parts = [Markup('<path class="rule" d="M0 .5H{0}M0 {1}H{0}"/>').format(width, HEIGHT // 2)]
    for place, bar in enumerate(found):
        # Rounded down, but what is something is seen.
        height = max(bar.units * HEIGHT // most, 2) if bar.units > 0 else 0
        box = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')
        x, drawn = place * STEP + _GAP // 2, height or 1
        parts.append(box.format("bar" if height else "rest", x, HEIGHT - drawn, STEP - _GAP, drawn, bar.words))
    frame = Markup(
        '<p class="most">{}</p>'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>{}'
    )
    return frame.format(most_words, width, HEIGHT, title, Markup("").join(parts), _names(found))


def _names(found: Sequence[Bar]) -> Markup:
    named = found if len(found) < _MANY else (found[0], found[len(found) // 2], found[-1])
    items = Markup("").join(Markup("<span>{}</span>").format(bar.name) for bar in named)
    return Markup('<p class="names {}" aria-hidden="true">{}</p>').format("each" if named is found else "some", items)
