"""``h_t = s(W h_{t-1} + V x_t + c)`` with the table of its backends."""

from __future__ import annotations

from orthornn.recurrence.backend import Backend
from orthornn.recurrence.recurrence import Recurrence

from . import compiled, eager
from .inputs import Inputs, Kind, Needed
from .problems import problems
from .reference import reference
from .scan import Scan
from .triton import engine as triton


def _choose_loop(inputs: Inputs, kind: Kind) -> Backend:
    """What runs the chunks of a scan: on a GPU torch, whose products suit so large a batch."""
    return ELMAN.backends[ELMAN.first(("c", "eager"), inputs, kind)]


ELMAN = Recurrence(
    "recurrence",
    Inputs,
    Kind,
    Needed,
    reference,
    {"scan": Scan(_choose_loop), "triton": triton, "c": compiled, "eager": eager},
    problems,
)
