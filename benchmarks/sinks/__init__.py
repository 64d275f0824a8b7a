"""Where records go while a run trains: a flushed file, the screen, W&B or TensorBoard."""

from .files import JsonLines
from .guarded import Guarded, Lost
from .nowhere import Nowhere
from .screen import Progress
from .sink import Identity, Sink
from .tensorboard import TensorBoard
from .wandb import Wandb

__all__ = [
    "Guarded",
    "Identity",
    "JsonLines",
    "Lost",
    "Nowhere",
    "Progress",
    "Sink",
    "TensorBoard",
    "Wandb",
]
