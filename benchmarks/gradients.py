"""Why orthogonal recurrence works, made visible: ``python -m benchmarks.gradients [...]``.

Trains the models on copy memory and draws, before and after, the norm of the gradient against time,
the spectrum of the Jacobian over all steps, and what clipping does to a weight scaled above 1. The
nonlinearities beside modReLU are there by name: with W orthogonal too, the gradient survives only
where their slope is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES

from .config.compose import compose
from .config.errors import ConfigError
from .diagnostics.gradient_flow import (
    CaseResult,
    GradientFlow,
    draw_gradients,
    draw_jacobians,
    measure_gradient_flow,
    recurrent_weight,
)
from .records.markdown import markdown_table
from .runs.build import make_state
from .runs.config import RunConfig
from .training.loop import TrainingDiverged, train


class Case(NamedTuple):
    """A model whose gradients are measured.

    Attributes:
        label: in the figure.
        overrides: of the configuration of copy memory.
        gain: what its recurrent weight is multiplied with at the start.
    """

    label: str
    overrides: tuple[str, ...]
    gain: float = 1.0


WEIGHT_GAIN = 1.05
CASES = {
    "rnn": Case("RNN, tanh", ("model=rnn",)),
    "lstm": Case("LSTM", ("model=lstm",)),
    "gru": Case("GRU", ("model=gru",)),
    "ortho": Case("OrthoRNN", ("model=ortho",)),
    "scaled": Case(f"W scaled by {WEIGHT_GAIN}", ("model=ortho_free",), WEIGHT_GAIN),
    "clipped": Case(
        f"W scaled by {WEIGHT_GAIN}, clipped",
        ("model=ortho_free", "train.clip_grad_norm=1.0"),
        WEIGHT_GAIN,
    ),
}
DEFAULT_CASES = list(CASES)
CASES |= {
    name: Case(f"OrthoRNN, {name}", ("model=ortho", f"orthogonal.nonlinearity={name}"))
    for name in NONLINEARITIES
    if name != "modrelu"
}

SHOWN = {
    "gradient_first_to_last": "‖∂L/∂h_1‖/‖∂L/∂h_T‖",
    "jacobian_largest": "largest σ of ∂s_T/∂s_1",
    "jacobian_median": "median",
    "singular_value_power": "σ_max(W)^T",
}
HEADINGS = (*SHOWN.values(), "saturated")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, print the table, write figure and numbers; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gradients",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", nargs="+", choices=CASES, default=DEFAULT_CASES)
    parser.add_argument("--delay", type=int, default=100, help="T of copy memory")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps; 0 measures once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/gradients"))
    options = parser.parse_args(arguments)
    if min(options.delay, options.threads) < 1 or min(options.steps, options.seed) < 0:
        parser.error("--delay and --threads must be at least 1, --steps and --seed at least 0")
    torch.set_num_threads(options.threads)
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--folder cannot be made: {error}")
    try:
        results = [
            train_and_measure(CASES[name], options.delay, options.steps, options.seed)
            for name in options.models
        ]
    except ConfigError as error:
        parser.error(str(error))
    title = f"copy memory, T = {options.delay}, {options.steps} steps, seed {options.seed}"
    print(f"{title}, {options.threads} thread(s)\n\n{format_cases(results)}\n")
    figure, numbers = options.folder / "gradients.png", options.folder / "gradients.json"
    plot_cases(results, title, figure)
    plain = {"title": title, "models": [_to_dict(story) for story in results]}
    numbers.write_text(json.dumps(plain, indent=1), encoding="utf-8")
    print(f"written to {figure} and {numbers}")
    return 0


def train_and_measure(case: Case, delay: int, steps: int, seed: int) -> CaseResult:
    """Measure, train with the step sizes of the copy benchmark, measure again."""
    sizes = [f"task.delay={delay}", f"train.steps={max(1, steps)}", f"seed={seed}"]
    config = RunConfig.of(compose("copy", [*case.overrides, *sizes]))
    task, settings, state = make_state(config)
    model = state.model
    weight = recurrent_weight(model)
    if case.gain != 1.0 and weight is not None:
        weight.mul_(case.gain)  # detached, but the same memory
    (batch,) = task.held_out("validation", settings.batch_size, 1)
    before = measure_gradient_flow(model, task, batch)
    if not steps:
        return CaseResult(case.label, before, before, [], [], "not trained")
    losses: list[float] = []
    norms: list[float] = []
    outcome = "trained"
    try:
        for record in tqdm(train(state, task, settings), case.label, steps, unit=" steps"):
            losses.append(record["loss"])
            norms.append(record["gradient_norm"])
    except TrainingDiverged as error:
        outcome = str(error)
    return CaseResult(
        case.label, before, measure_gradient_flow(model, task, batch), losses, norms, outcome
    )


def format_cases(results: list[CaseResult]) -> str:
    """A Markdown table, one row per model and moment."""
    rows = [["model", "", *HEADINGS, "last loss"]]
    for result in results:
        loss = f"{result.losses[-1]:.2e}" if result.losses else "-"
        ends = {"before": (result.label, ""), "after": ("", f"{loss}, {result.outcome}")}
        for moment, (label, outcome) in ends.items():
            flow: GradientFlow = getattr(result, moment)
            numbers = flow.numbers()
            powers = [_format_power(numbers.get(name)) for name in SHOWN]
            saturation = "-" if flow.saturation is None else f"{flow.saturation:.1%}"
            rows.append([label, moment, *powers, saturation, outcome])
    return markdown_table(rows, aligned=True)


def plot_cases(results: list[CaseResult], title: str, path: Path) -> None:
    """Write the PNG: gradients and Jacobians before and after, gradient norms and losses."""
    figure = Figure(figsize=(14, 8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    panels = figure.subplots(2, 3)
    for row, moment in enumerate(("before", "after")):
        flows = {result.label: getattr(result, moment) for result in results}
        draw_gradients(panels[row, 0], flows)
        draw_jacobians(panels[row, 1], flows)
        panels[row, 0].set_title(f"gradient through time, {moment} training", fontsize=10)
        panels[row, 1].set_title(f"all steps as one map, {moment} training", fontsize=10)
    for axes, name, label in (
        (panels[0, 2], "norms", "gradient norm, before clipping"),
        (panels[1, 2], "losses", "loss"),
    ):
        for result in results:
            values: list[float] = getattr(result, name)
            axes.semilogy(range(1, len(values) + 1), values, lw=1.2, label=result.label)
        axes.set(xlabel="optimizer step", ylabel=label)
        axes.set_title(label, fontsize=10)
        axes.grid(alpha=0.25)
    panels[0, 0].legend(fontsize=8)
    figure.savefig(path)


def _to_dict(result: CaseResult) -> dict[str, Any]:
    flows = {"before": result.before._asdict(), "after": result.after._asdict()}
    return {**result._asdict(), **flows}


def _format_power(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


if __name__ == "__main__":
    sys.exit(main())
