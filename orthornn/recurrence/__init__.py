"""The recurrence ``h_t = s(W h_{t-1} + V x_t + c)``, its adjoint, and all ways to run them."""

from .dispatch import BACKENDS, backends, check_backend, choose

__all__ = ["BACKENDS", "backends", "check_backend", "choose"]
