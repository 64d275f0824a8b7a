"""Where records go while a run trains: a flushed file, the screen, W&B."""

from .files import JsonLines
from .screen import Progress
from .sink import Sink
from .wandb import Wandb

__all__ = ["JsonLines", "Progress", "Sink", "Wandb"]
