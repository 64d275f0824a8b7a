"""``h_t = a(x_t) M(x_t) h_{t-1} + b(x_t)`` with the table of its backends."""

from __future__ import annotations

from orthornn.recurrence.recurrence import Recurrence

from . import compiled, eager, scan
from .inputs import Inputs, Kind, Needed
from .problems import problems
from .reference import reference

SWITCHED = Recurrence(
    "switched_recurrence",
    Inputs,
    Kind,
    Needed,
    reference,
    {"c": compiled, "scan": scan, "eager": eager},
    problems,
)
