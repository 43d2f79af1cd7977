"""A bar chart as SVG, drawn here: rectangles and texts, no style and no script in them."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 960, 180
_LEFT, _TOP, _BOTTOM = 8, 18, 24


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its height in units of anything, what a pointer shows, and a name below it (or none)."""

    units: int
    words: str
    name: str = ""


def bars(title: str, found: Sequence[Bar], most_words: str) -> Markup:
    """Draw bars from left to right, the highest as high as the chart; `most_words` names that height."""
    most = max((bar.units for bar in found), default=0)
    step = (WIDTH - 2 * _LEFT) // max(len(found), 1)
    floor = HEIGHT - _BOTTOM
    parts = [Markup('<text x="{}" y="12">{}</text>').format(_LEFT, most_words)] if most else []
    parts.append(Markup('<line class="rule" x1="0" y1="{0}" x2="{1}" y2="{0}"/>').format(floor, WIDTH))
    for place, bar in enumerate(found):
        # Rounded down, but what is something is seen.
        height = max(bar.units * (floor - _TOP) // most, 2) if bar.units > 0 else 0
        x = _LEFT + place * step
        box = Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}" rx="2"><title>{}</title></rect>')
        if height:
            parts.append(box.format(x, floor - height, max(step - 3, 1), height, bar.words))
        if bar.name:
            parts.append(Markup('<text x="{}" y="{}">{}</text>').format(x, HEIGHT - 6, bar.name))
    frame = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return frame.format(WIDTH, HEIGHT, title, Markup("").join(parts))
