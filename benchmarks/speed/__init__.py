"""This library timed beside its peers, as ratios within one run: ``python -m benchmarks.speed``."""

from .command import main

__all__ = ["main"]
