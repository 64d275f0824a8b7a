"""The recurrence ``h_t = s(W h_{t-1} + V x_t + c)``, its adjoint, and all ways to run them."""

from .autograd import run_recurrence
from .backend import Inputs, Kind
from .dispatch import BACKENDS, backends, check_backend, choose

__all__ = ["BACKENDS", "Inputs", "Kind", "backends", "check_backend", "choose", "run_recurrence"]
