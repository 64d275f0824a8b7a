"""Where records go while a run trains: a flushed file, the screen, W&B or TensorBoard."""

from .fail_safe import FailSafeLogger, LoggerUnavailable
from .jsonl import JsonlLogger
from .logger import Logger, RunIdentity
from .null import NullLogger
from .progress_bar import ProgressBar
from .tensorboard import TensorBoardLogger
from .wandb import WandbLogger

__all__ = [
    "FailSafeLogger",
    "JsonlLogger",
    "Logger",
    "LoggerUnavailable",
    "NullLogger",
    "ProgressBar",
    "RunIdentity",
    "TensorBoardLogger",
    "WandbLogger",
]
