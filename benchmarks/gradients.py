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

from orthornn.recurrence.nonlinearity import NONLINEARITIES

from .config.compose import compose
from .config.errors import ConfigError
from .diagnostics.gradient_flow import Story, draw_gradients, draw_jacobians, look, recurrent_weight
from .runs.build import make_state
from .training.loop import TrainingDiverged, fit


class Subject(NamedTuple):
    """A model to look into.

    Attributes:
        label: in the figure.
        overrides: of the configuration of copy memory.
        gain: what its recurrent weight is multiplied with at the start.
    """

    label: str
    overrides: tuple[str, ...]
    gain: float = 1.0


SCALED = 1.05
SUBJECTS = {
    "rnn": Subject("RNN, tanh", ("model=rnn",)),
    "lstm": Subject("LSTM", ("model=lstm",)),
    "gru": Subject("GRU", ("model=gru",)),
    "ortho": Subject("OrthoRNN", ("model=ortho",)),
    "scaled": Subject(f"W scaled by {SCALED}", ("model=ortho_free",), SCALED),
    "clipped": Subject(
        f"W scaled by {SCALED}, clipped", ("model=ortho_free", "train.clip=1.0"), SCALED
    ),
}
USUAL = list(SUBJECTS)
SUBJECTS |= {
    name: Subject(f"OrthoRNN, {name}", ("model=ortho", f"orthogonal.nonlinearity={name}"))
    for name in NONLINEARITIES
    if name != "modrelu"
}

MEASURED = (
    "‖∂L/∂h_1‖/‖∂L/∂h_T‖",
    "largest σ of ∂s_T/∂s_1",
    "median",
    "σ_max(W)^T",
    "saturated",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, print the table, write figure and numbers; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gradients",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", nargs="+", choices=SUBJECTS, default=USUAL)
    parser.add_argument("--delay", type=int, default=100, help="T of copy memory")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps; 0 looks once")
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
        stories = [
            tell(SUBJECTS[name], options.delay, options.steps, options.seed)
            for name in options.models
        ]
    except ConfigError as error:
        parser.error(str(error))
    title = f"copy memory, T = {options.delay}, {options.steps} steps, seed {options.seed}"
    print(f"{title}, {options.threads} thread(s)\n\n{table(stories)}\n")
    figure, numbers = options.folder / "gradients.png", options.folder / "gradients.json"
    draw(stories, title, figure)
    plain = {"title": title, "models": [_plain(story) for story in stories]}
    numbers.write_text(json.dumps(plain, indent=1), encoding="utf-8")
    print(f"written to {figure} and {numbers}")
    return 0


def tell(subject: Subject, delay: int, steps: int, seed: int) -> Story:
    """Look, train with the step sizes of the copy benchmark, look again."""
    overrides = [*subject.overrides, f"task.delay={delay}", f"train.steps={max(1, steps)}"]
    cfg = compose("copy", overrides)
    task, settings, state = make_state(cfg, seed, cfg.budget)
    model = state.model
    weight = recurrent_weight(model)
    if subject.gain != 1.0 and weight is not None:
        weight.mul_(subject.gain)  # detached, but the same memory
    (batch,) = task.held_out("validation", settings.batch_size, 1)
    before = look(model, task, batch)
    if not steps:
        return Story(subject.label, before, before, [], [], "not trained")
    losses: list[float] = []
    norms: list[float] = []
    outcome = "trained"
    try:
        for record in tqdm(fit(state, task, settings), subject.label, steps, unit=" steps"):
            losses.append(record["loss"])
            norms.append(record["gradient_norm"])
    except TrainingDiverged as error:
        outcome = str(error)
    return Story(subject.label, before, look(model, task, batch), losses, norms, outcome)


def table(stories: list[Story]) -> str:
    """A Markdown table, one row per model and moment."""
    rows = [
        ["model", "", *MEASURED, "last loss"],
        ["---"] * (len(MEASURED) + 3),
    ]
    for story in stories:
        for moment, flow in (("before", story.before), ("after", story.after)):
            n = flow.numbers()
            loss = f"{story.losses[-1]:.2e}" if story.losses else "-"
            rows.append(
                [
                    story.label if moment == "before" else "",
                    moment,
                    _power(n.get("gradient_first_to_last")),
                    _power(n.get("jacobian_largest")),
                    _power(n.get("jacobian_median")),
                    _power(n.get("singular_value_power")),
                    "-" if flow.saturation is None else f"{flow.saturation:.1%}",
                    "" if moment == "before" else f"{loss}, {story.outcome}",
                ]
            )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    )


def draw(stories: list[Story], title: str, path: Path) -> None:
    """Write the PNG: gradients and Jacobians before and after, gradient norms and losses."""
    figure = Figure(figsize=(14, 8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    panels = figure.subplots(2, 3)
    for row, moment in enumerate(("before", "after")):
        flows = {story.label: getattr(story, moment) for story in stories}
        draw_gradients(panels[row, 0], flows)
        draw_jacobians(panels[row, 1], flows)
        panels[row, 0].set_title(f"gradient through time, {moment} training", fontsize=10)
        panels[row, 1].set_title(f"all steps as one map, {moment} training", fontsize=10)
    for axes, name, label in (
        (panels[0, 2], "norms", "gradient norm, before clipping"),
        (panels[1, 2], "losses", "loss"),
    ):
        for story in stories:
            values: list[float] = getattr(story, name)
            axes.semilogy(range(1, len(values) + 1), values, lw=1.2, label=story.label)
        axes.set(xlabel="optimizer step", ylabel=label)
        axes.set_title(label, fontsize=10)
        axes.grid(alpha=0.25)
    panels[0, 0].legend(fontsize=8)
    figure.savefig(path)


def _plain(story: Story) -> dict[str, Any]:
    flows = {"before": story.before._asdict(), "after": story.after._asdict()}
    return {**story._asdict(), **flows}


def _power(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


if __name__ == "__main__":
    sys.exit(main())
