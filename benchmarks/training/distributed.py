"""One run over several processes, as ``torchrun`` starts them: each a share of every batch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.tasks.task import Batch, Scores

Agreed = TypeVar("Agreed")

CPU = torch.device("cpu")

# Note [One run, several processes]
# All processes hold the same weights and draw the same batch of B sequences from generators in the
# same state; process r of N computes with columns r B/N to (r + 1) B/N of it. Then
# DistributedDataParallel averages the gradients, and as all shares are equal, the mean of their
# means is the mean over the batch: the run is that of one process up to rounding. Whatever decides
# how it goes on (losses, gradient norms, validation) is the same number everywhere; the first
# process alone writes.


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: this one's number, from 0.
        size: how many there are.
        device: where it computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def is_main(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def broadcast_result(self, decide: Callable[[], Agreed]) -> Agreed:
        """What the first process decides, or the error it raises, on every process."""
        if self.size == 1:
            return decide()
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = decide()
            except Exception as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        decision: Agreed = outcome[0]
        return decision

    def replicate(self, model: nn.Module) -> nn.Module:
        """The model whose backward pass averages gradients over the processes."""
        if self.size == 1:
            return model
        ids = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)

    def share(self, batch: Batch) -> Batch:
        """This process's columns of a batch, on its device; some have none of a small one."""
        if self.size > 1:
            split = [part.tensor_split(self.size, -1) for part in (batch.input, batch.target)]
            if batch.input.dim() == 3:
                split[0] = batch.input.tensor_split(self.size, 1)
            batch = batch._replace(input=split[0][self.rank], target=split[1][self.rank])
        return batch._replace(
            input=batch.input.to(self.device), target=batch.target.to(self.device)
        )

    def mean(self, scores: Scores) -> Scores:
        """The mean of each score over the processes, which know the same ones."""
        if self.size == 1:
            return scores
        values = torch.tensor(list(scores.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(values)
        return dict(zip(scores, (values / self.size).tolist(), strict=True))

    def total(self, scores: Scores) -> Scores:
        """The sum of each score over the processes, in float64; a process may know none."""
        if self.size == 1:
            return scores
        gathered: list[Scores] = self.gather(scores)
        names = max(gathered, key=len)
        return {name: sum(each.get(name, 0.0) for each in gathered) for name in names}

    def any(self, value: object) -> bool:
        """Whether a value is true on any of the processes."""
        return self.mean({"": float(bool(value))})[""] > 0

    def single(self) -> Processes:
        """This process without the others."""
        return Processes(device=self.device)

    def gather(self, value: Agreed) -> list[Agreed]:
        """Every process's value, on every process."""
        if self.size == 1:
            return [value]
        values: list[Agreed] = [value] * self.size
        dist.all_gather_object(values, value)
        return values


SINGLE = Processes()


def is_main() -> bool:
    """Whether this process is the first of its run, or the only one."""
    return rank() == 0


def rank() -> int:
    """This process's number among those of its run."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


def is_peer_failure(error: BaseException) -> bool:
    """Whether an error says that another process of the run has gone."""
    told = str(error)
    lost = isinstance(error, dist.DistError) or "gloo" in told or "peer" in told
    return world_size() > 1 and isinstance(error, RuntimeError) and lost


def world_size() -> int:
    """How many processes ``torchrun`` has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Within it, the processes that ``torchrun`` has started can talk: gloo on CPU, nccl on GPU."""
    if world_size() == 1:
        yield
        return
    dist.init_process_group()
    try:
        yield
    finally:
        dist.destroy_process_group()


def make_processes(device: str) -> Processes:
    """The processes of this run.

    Args:
        device: ``"cpu"`` or ``"cuda"``, of which each process takes its own.

    Raises:
        ValueError: if there is no such device.
    """
    if device not in ("cpu", "cuda"):
        raise ValueError(f"must be one of ['cpu', 'cuda'], got {device!r}")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if local >= count:
            raise ValueError(f"cuda needs a GPU for each process of this machine, found {count}")
        torch.cuda.set_device(local)
        return Processes(rank(), world_size(), torch.device("cuda", local))
    return Processes(rank(), world_size())
