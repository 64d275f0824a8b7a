"""How much memory a training step takes at its peak, beyond what was there before it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from orthornn import backends

from .cases import layer_passes, layers
from .sizes import Size
from .table import Action, Make, SpeedPlan, SpeedTable
from .timing import OnProgress, Values, error_text

MAX_PROCESSES = 3  # at most, of one candidate
CLEAR_PEAK_FILE = Path("/proc/self/clear_refs")
STATUS_FILE = Path("/proc/self/status")

# Note [Memory of a process]
# On the CPU torch does not count, and its libraries take memory past it: what is measured is what
# the system has given to the process. One that did anything before holds freed memory, which a
# step would take unseen; so each step has a fresh process. There the same layer makes two steps of
# time first, which load the code, and what they freed is given back. The fresh processes of a round
# are forks of one and have its layout of addresses, with which the small pieces of an autograd loop
# take up to 40 % more or less; so each round has another.


class FailedElsewhere(RuntimeError):
    """An error of a candidate's own process, told in one line with its kind."""


def memory_tables(plan: SpeedPlan) -> Iterator[SpeedTable]:
    """The training steps of the layers."""
    how = "in a fresh process" if plan.device.type == "cpu" else "as torch counts it"
    for size in layer_passes.chosen_sizes(plan):
        yield SpeedTable(
            f"peak extra memory of a training step {how} at {size}",
            (layers.LAYER_REFERENCE,),
            {
                name: partial(_warm_training_step, name, size, plan.device)
                for name in layers.available_layers(plan.device)
            },
            frozenset(layers.own_layers(plan.device)),
        )


def measure_memory(
    table: SpeedTable, plan: SpeedPlan, on_progress: OnProgress
) -> tuple[Values, dict[str, str]]:
    """Bytes of every candidate, in up to three rounds, and what those said that failed."""
    values: Values = {name: [] for name in table.candidates}
    failed: dict[str, str] = {}
    for _ in range(memory_rounds(plan)):
        with memory_meter(plan) as extra:
            for name in [name for name in values if name not in failed]:
                on_progress(name)
                try:
                    values[name].append(float(extra(table.candidates[name])))
                except FailedElsewhere as error:
                    failed[name] = str(error)
                except Exception as error:
                    failed[name] = error_text(error)
    return {name: of for name, of in values.items() if name not in failed}, failed


def memory_rounds(plan: SpeedPlan) -> int:
    """How many processes each candidate has."""
    return 1 if plan.quick else min(plan.repeats, MAX_PROCESSES)


@contextlib.contextmanager
def memory_meter(plan: SpeedPlan) -> Iterator[Callable[[Make], int]]:
    """What says how many bytes the first call of what is made takes at its peak.

    It raises FailedElsewhere if that fails, or is killed, in its process.
    """
    if plan.device.type == "cuda":
        yield lambda make: _allocated_bytes(make(), plan.device)
        return
    context = multiprocessing.get_context("spawn")
    client, remote = context.Pipe()
    server = context.Process(target=_serve, args=(remote, plan.threads))
    server.start()
    remote.close()

    def extra(make: Make) -> int:
        client.send(make)
        outcome: int | str = client.recv()
        if isinstance(outcome, str):
            raise FailedElsewhere(outcome)
        return outcome

    try:
        yield extra
    finally:
        client.close()  # which ends the server
        server.join()


def _warm_training_step(name: str, size: Size, device: torch.device) -> Action:
    backends()  # which tries them, at first use
    layer_passes.training_step(name, size._replace(T=min(2, size.T)), device)()
    return layer_passes.training_step(name, size, device)


def _serve(connection: Connection, threads: int) -> None:
    """Fork a process for each candidate from this one, which has imported and done nothing."""
    context = multiprocessing.get_context("fork")
    with contextlib.suppress(EOFError):
        while True:
            make = connection.recv()
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_report, args=(sender, make, threads))
            process.start()
            sender.close()
            try:
                outcome = receiver.recv()
                process.join()
            except EOFError:
                process.join()
                outcome = f"its process ended with {process.exitcode}, for want of memory perhaps"
            connection.send(outcome)


def _report(sender: Connection, make: Make, threads: int) -> None:
    torch.set_num_threads(threads)
    gc.freeze()  # looking through all that torch imports takes longer than the rest
    try:
        sender.send(_resident_bytes(make()))
    except Exception as error:
        sender.send(error_text(error))


def _resident_bytes(action: Action) -> int:
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # a C library other than GNU's
        ctypes.CDLL(None).malloc_trim(0)
    try:
        CLEAR_PEAK_FILE.write_text("5")  # the peak so far
        before = _status_bytes("VmRSS")
    except OSError:  # no Linux: the peak of making it hides as much of the step
        before = _peak_bytes()
        action()
        return _peak_bytes() - before
    action()
    return max(0, _status_bytes("VmHWM") - before)


def _status_bytes(key: str) -> int:
    for line in STATUS_FILE.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return 1024 * int(value.split()[0])
    raise OSError(f"{STATUS_FILE} has no {key}")


def _peak_bytes() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _allocated_bytes(action: Action, device: torch.device) -> int:
    gc.collect()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    action()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
