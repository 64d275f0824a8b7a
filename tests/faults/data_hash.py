"""One hash of the data of every benchmark: ``python -m tests.faults.data_hash TEXT``."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from torch import Tensor

from benchmarks.config.compose import compose
from benchmarks.runs.build import make_task
from benchmarks.runs.config import RunConfig
from benchmarks.system.seeding import named_generator
from benchmarks.tasks.task import Task
from benchmarks.training.settings import TrainSettings

STEPS = 3
BENCHMARKS = ("copy", "tagging", "adding", "pixels", "language")


def data_hash(text: Path) -> str:
    """SHA-256 of the first training batches and the first held-out ones of each benchmark.

    With them the task's title and what blindness costs there, which come from all of the data.

    Args:
        text: read at both levels by the benchmark of language models, beside its own text.
    """
    digest = hashlib.sha256()
    texts = [[f"data.path={text}", f"data.level={level}"] for level in ("character", "word")]
    for name in BENCHMARKS:
        for more in [[], *(texts if name == "language" else [])]:
            config = RunConfig.of(compose(name, ["train.batch_size=4", *more]))
            task = make_task(config)
            digest.update(f"{name} {task.title} {task.baseline}".encode())
            for part in _tensors(task, config.train.for_task(task)):
                digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
                digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tensors(task: Task, settings: TrainSettings) -> list[Tensor]:
    generator = named_generator(0, "training")
    batches = [task.training(settings.batch_size, step, generator) for step in range(STEPS)]
    for split in ("validation", "test"):
        batches += list(task.held_out(split, settings.batch_size, 2))
    return [tensor for batch in batches for tensor in (batch.input, batch.target)]


if __name__ == "__main__":
    print(data_hash(Path(sys.argv[1]).resolve()))
