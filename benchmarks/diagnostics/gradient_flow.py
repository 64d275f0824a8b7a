"""Whether gradients survive in a model: what flows back through time, and the spectra behind it."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmarks.models import SequenceModel, orthogonal_weights
from benchmarks.tasks.task import Batch, Task
from orthornn.diagnostics import gradient_norms, jacobian, saturation, singular_values

from .figures import escape_dollars, write_figure

MAX_SEQUENCES = 16  # sequences of a batch that are looked at
MAX_JACOBIAN_WORK = 2e10  # T H³, in proportion to the work: a Jacobian over more is left out
LOG_RANGE, LINEAR_RANGE = (0.1, 10.0), (0.9, 1.1)  # of what is 1 at its best, at the least
PLOT_FLOOR = 1e-40  # what a log scale shows of an exact zero


class GradientFlow(NamedTuple):
    """The gradient flow of a model at a moment; an empty list is what does not exist or overflowed.

    Attributes:
        gradient_norms: ``‖∂L/∂h_t‖`` for t = 1 to T, L being the loss of the last answer alone.
        jacobian: singular values of ``∂s_T/∂s_1``, largest first, s being all that is carried on;
            of the first sequence, from its first state that is not 0.
        spectrum: singular values of the recurrent weight, largest first.
        saturation: share of units whose nonlinearity has a slope below 0.1; None without one.
    """

    gradient_norms: list[float]
    jacobian: list[float]
    spectrum: list[float]
    saturation: float | None

    @property
    def empty(self) -> bool:
        """Whether there was nothing to see, as in several gated layers."""
        return not (self.gradient_norms or self.jacobian or self.spectrum)

    def numbers(self) -> dict[str, float]:
        """What fits in a chart: the ends of the gradient and of the spectra, and ``σ_max^T``."""
        numbers = {}
        if self.gradient_norms and 0 < self.gradient_norms[-1] < math.inf:
            numbers["gradient_first_to_last"] = self.gradient_norms[0] / self.gradient_norms[-1]
        if self.jacobian:
            numbers["jacobian_largest"] = self.jacobian[0]
            numbers["jacobian_median"] = self.jacobian[len(self.jacobian) // 2]
        if self.spectrum:
            numbers["singular_value_largest"] = self.spectrum[0]
            numbers["singular_value_smallest"] = self.spectrum[-1]
            if self.gradient_norms and self.spectrum[0] > 0:
                exponent = len(self.gradient_norms) * math.log(self.spectrum[0])
                numbers["singular_value_power"] = math.exp(min(exponent, 700))
        if self.saturation is not None:
            numbers["saturation"] = self.saturation
        return numbers


def measure_gradient_flow(model: SequenceModel, task: Task, batch: Batch) -> GradientFlow:
    """Look into ``model`` on the first sequences of a batch, from the zero state.

    Costs as much as 3 to 20 steps of training, most of it for the Jacobian, which is left out of
    models and lengths where it would take more than seconds. It is computed in float64, so that
    what vanishes does not underflow, on a copy: the model stays as it is. Through several layers or
    directions there is no one path to follow, nor where the output is not the state: then the lists
    of the gradient and the Jacobian are empty.
    """
    model = copy.deepcopy(model).cpu().double().eval()
    core = model.core
    weight = recurrent_weight(model)
    spectrum = [] if weight is None else _finite_spectrum(weight)
    if getattr(core, "num_layers", 1) > 1 or getattr(core, "bidirectional", False):
        return GradientFlow([], [], spectrum, None)
    seen = batch.input[:, :MAX_SEQUENCES]
    x = model.embed(seen if task.tokens else seen.double()).detach()
    with torch.no_grad():
        h, state = core(x)
    if (state[0] if isinstance(state, tuple) else state).shape[1:] != h.shape[1:]:
        return GradientFlow([], [], spectrum, None)  # the output is not what is carried on
    target = batch.target[..., :MAX_SEQUENCES]
    target = target.double() if target.is_floating_point() else target

    def last(h: Tensor) -> Tensor:
        return task.loss(model.answer(h[-1:]), target if task.sequence_level else target[-1:])

    with parametrize.cached():  # a parametrized weight is made once, not at every step
        norms, _ = gradient_norms(core, x, last)
        affordable = len(x) > 1 and len(x) * model.hidden_size**3 <= MAX_JACOBIAN_WORK
        stretch = (
            _finite_spectrum(_jacobian_from_first_nonzero_state(core, x[:, 0], h[:, 0]))
            if affordable
            else []
        )
    name = getattr(core, "nonlinearity", None)
    share = saturation(h, name) if isinstance(name, str) else None
    return GradientFlow(norms.tolist(), stretch, spectrum, share)


@torch.no_grad()
def _jacobian_from_first_nonzero_state(core: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    """The Jacobian from the first state that is not 0, of ``x`` (T, I) with its states (T, H).

    A dark rim of a digit leaves the state at 0, where modReLU is flat: nothing would come through.
    """
    asleep = int((h == 0).all(-1).long().cumprod(0).sum())
    first = min(asleep + 1, len(x) - 1)
    _, state = core(x[:first].unsqueeze(1))
    with torch.enable_grad():
        return jacobian(core, x[first:], state)


def _finite_spectrum(matrix: Tensor) -> list[float]:
    """Singular values, largest first; none of a matrix that overflowed."""
    if not bool(matrix.isfinite().all()):
        return []
    values: list[float] = singular_values(matrix).flatten().sort(descending=True).values.tolist()
    return values


def recurrent_weight(model: nn.Module) -> Tensor | None:
    """The recurrent weight of the first layer as it acts; None for a gated core."""
    for weight in orthogonal_weights(model).values():
        return weight
    for module in model.modules():
        if isinstance(module, nn.RNN):
            return module.get_parameter("weight_hh_l0").detach()
    return None


def plot_gradient_flow(flows: dict[str, GradientFlow], title: str, path: Path) -> None:
    """Write a PNG of some measurements, by their labels: gradients through time, spectra beside."""
    panels = [
        draw
        for name, draw in (
            ("gradient_norms", draw_gradients),
            ("jacobian", draw_jacobians),
            ("spectrum", draw_spectra),
        )
        if any(getattr(flow, name) for flow in flows.values())
    ]
    figure = Figure(figsize=(4.7 * max(1, len(panels)), 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(escape_dollars(title), fontsize=10)
    for axes, draw in zip(np.ravel(figure.subplots(1, max(1, len(panels)))), panels, strict=False):
        draw(axes, flows)
        if draw is panels[0] and axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    write_figure(path, figure)


def draw_gradients(axes: Axes, flows: dict[str, GradientFlow]) -> None:
    """Each measurement's ``‖∂L/∂h_t‖`` against t, relative to the last step, on a log scale."""
    for label, flow in flows.items():
        if flow.gradient_norms and 0 < flow.gradient_norms[-1] < math.inf:
            last = flow.gradient_norms[-1]
            values = [max(norm / last, PLOT_FLOOR) for norm in flow.gradient_norms]
            axes.semilogy(range(1, len(values) + 1), values, lw=1.4, label=label)
    axes.axhline(1, color="0.6", lw=0.8, ls=":")
    _show_at_least(axes, *LOG_RANGE)
    axes.set(xlabel="time step t", ylabel="‖∂L/∂h_t‖ / ‖∂L/∂h_T‖")
    axes.grid(alpha=0.25)


def draw_jacobians(axes: Axes, flows: dict[str, GradientFlow]) -> None:
    """Each measurement's singular values of ``∂s_T/∂s_1``, largest first, on a log scale."""
    for label, flow in flows.items():
        if flow.jacobian:
            values = [max(value, PLOT_FLOOR) for value in flow.jacobian]
            shares = [100 * k / max(1, len(values) - 1) for k in range(len(values))]
            axes.semilogy(shares, values, lw=1.4, label=label)
    axes.axhline(1, color="0.6", lw=0.8, ls=":")
    _show_at_least(axes, *LOG_RANGE)
    axes.set(xlabel="rank, % of the state", ylabel="singular value of ∂s_T/∂s_1")
    axes.grid(alpha=0.25)


def draw_spectra(axes: Axes, flows: dict[str, GradientFlow]) -> None:
    """Each measurement's singular values of the recurrent weight, largest first."""
    for label, flow in flows.items():
        shares = [100 * k / max(1, len(flow.spectrum) - 1) for k in range(len(flow.spectrum))]
        axes.plot(shares, flow.spectrum, lw=1.4, label=label)
    axes.axhline(1, color="0.6", lw=0.8, ls=":")
    _show_at_least(axes, *LINEAR_RANGE)
    axes.set(xlabel="rank, % of H", ylabel="singular value of W")
    axes.grid(alpha=0.25)


def _show_at_least(axes: Axes, low: float, high: float) -> None:
    """Widen the vertical axis to this range: what hardly differs from 1 is to look so."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(min(bottom, low), max(top, high))


class CaseResult(NamedTuple):
    """The gradient flow of one case before and after training, and how that went."""

    label: str
    before: GradientFlow
    after: GradientFlow
    losses: list[float]
    norms: list[float]
    outcome: str
