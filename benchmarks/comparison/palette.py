"""How a group looks in every figure of its task: a hue and a stroke that colour-blind eyes tell.

Five hues (after Okabe & Ito, 2008) times three strokes, so that ten groups differ; what comes after
them is drawn thin and grey.
"""

from __future__ import annotations

from typing import NamedTuple

LIGHT = ("#0072b2", "#c44e00", "#00805c", "#a8488a", "#8a6d00")  # on white
DARK = ("#5bb8f0", "#ff9552", "#2fcf9f", "#ea9dcc", "#e3c540")  # on black
OTHERS_GREY = "#8c8c8c"
STROKES = ("-", "--", ":")
MAX_COLORED_GROUPS = 10  # groups in a colour of their own


class LineStyle(NamedTuple):
    """How the curve of a group is drawn.

    Attributes:
        hue: its place among the hues; None for grey.
        stroke: in matplotlib's notation.
    """

    hue: int | None
    stroke: str

    @property
    def color(self) -> str:
        """On white."""
        return OTHERS_GREY if self.hue is None else LIGHT[self.hue]


def line_styles(count: int) -> list[LineStyle]:
    """The styles of ``count`` groups, the best first."""
    coloured = [
        LineStyle(k % len(LIGHT), STROKES[k // len(LIGHT)])
        for k in range(min(count, MAX_COLORED_GROUPS))
    ]
    return coloured + [LineStyle(None, "-")] * (count - len(coloured))
