"""Where records go while a run trains: a flushed file, the screen, W&B or TensorBoard."""

from .fail_safe import Guarded, Lost
from .jsonl import JsonLines
from .logger import Identity, Sink
from .null import Nowhere
from .progress_bar import Progress
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
