"""What a layer does in its turn: a training step or a forward pass, padded or packed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from benchmarks.speed.sizes import LAYER_SIZES, PACKED_SIZES, TINY_SIZE, Size
from benchmarks.speed.table import Action, SpeedPlan, SpeedTable

from . import layers


def training_tables(plan: SpeedPlan) -> Iterator[SpeedTable]:
    """Forward and backward of one layer."""
    for size in chosen_sizes(plan):
        yield _table("training step (forward and backward)", size, training_step, plan)


def inference_tables(plan: SpeedPlan) -> Iterator[SpeedTable]:
    """Forward alone, under ``no_grad``."""
    for size in chosen_sizes(plan):
        yield _table("inference (forward under no_grad)", size, inference_pass, plan)


def packed_tables(plan: SpeedPlan) -> Iterator[SpeedTable]:
    """Forward and backward over packed sequences whose lengths are uniform in 1...T."""
    for size in chosen_sizes(plan, PACKED_SIZES):
        # not the gated ones, which take 6 to 16 s a step here, nor the peers, which know no packing
        yield SpeedTable(
            f"training step over packed sequences of lengths 1 to T at {size}",
            (layers.LAYER_REFERENCE,),
            {
                name: partial(packed_training_step, name, size, plan.device)
                for name in layers.elman_layers(plan.device)
            },
            frozenset(layers.own_layers(plan.device)),
        )


def chosen_sizes(plan: SpeedPlan, usual: tuple[Size, ...] = LAYER_SIZES) -> tuple[Size, ...]:
    """Those of the command line, or the usual ones."""
    return (TINY_SIZE,) if plan.quick else plan.sizes or usual


def training_step(name: str, size: Size, device: torch.device) -> Action:
    """One training step of a layer: the gradients of the sum of its output."""
    return _step(name, size, device, torch.randn(size.T, size.B, size.I, device=device))


def packed_training_step(name: str, size: Size, device: torch.device) -> Action:
    """The same over packed sequences, of the same lengths for every layer."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, size.T + 1, (size.B,), generator=generator).tolist()
    x = [torch.randn(n, size.I, device=device) for n in lengths]
    return _step(name, size, device, pack_sequence(x, enforce_sorted=False))


def inference_pass(name: str, size: Size, device: torch.device) -> Action:
    """One forward pass that keeps nothing for a backward one."""
    layer = layers.layer_makers()[name](size).to(device).eval()
    x = torch.randn(size.T, size.B, size.I, device=device)

    def run() -> None:
        with torch.no_grad():
            layer(x)

    return run


def _step(name: str, size: Size, device: torch.device, x: torch.Tensor | PackedSequence) -> Action:
    layer = layers.layer_makers()[name](size).to(device)

    def step() -> None:
        layer.zero_grad()
        output = layer(x)[0]
        (output.data if isinstance(output, PackedSequence) else output).sum().backward()

    return step


def _table(
    title: str, size: Size, make: Callable[[str, Size, torch.device], Action], plan: SpeedPlan
) -> SpeedTable:
    return SpeedTable(
        f"{title} at {size}",
        (layers.LAYER_REFERENCE,),
        {
            name: partial(make, name, size, plan.device)
            for name in layers.available_layers(plan.device)
        },
        frozenset(layers.own_layers(plan.device)),
    )
