"""What flows back through a model, and the figure of it."""

import json
import math

import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from benchmarks import gradients, models
from benchmarks.diagnostics import gradient_flow
from benchmarks.diagnostics.gradient_flow import (
    GradientFlow,
    measure_gradient_flow,
    plot_gradient_flow,
    recurrent_weight,
)
from benchmarks.models import Network, assemble, parametrizations
from benchmarks.tasks.adding import Adding
from benchmarks.tasks.copy_memory import CopyMemory
from benchmarks.tasks.task import Batch
from orthornn import linalg
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES

TASK = CopyMemory(delay=12, symbols=2)


def build(name, network=None, task=TASK, hidden_size=6):
    return assemble(
        getattr(models, name),
        network or Network(),
        hidden_size=hidden_size,
        input_size=task.input_size,
        output_size=task.output_size,
        sequence_level=task.sequence_level,
    )


def batch(task=TASK):
    return next(iter(task.held_out("validation", 3, 1)))


@pytest.mark.parametrize("task", [TASK, Adding(length=9)], ids=["every step", "single answer"])
@pytest.mark.parametrize("name", ["ortho", "rnn", "lstm", "gru", "exprnn", "dtriv"])
def test_gradients_are_those_of_the_last_answer_with_respect_to_each_state(name, task):
    torch.manual_seed(0)
    model = build(name, task=task).double()
    seen = batch(task)
    x, target = seen.input.double(), seen.target
    target = target.double() if task.sequence_level else target[-1:]
    flow = measure_gradient_flow(model, task, seen)
    assert len(flow.gradient_norms) == task.length
    t = 5
    state = model.core(x[:t])[1]
    carried = state[0] if isinstance(state, tuple) else state
    carried = carried.detach().requires_grad_()
    _, end = model.core(x[t:], (carried, state[1].detach()) if name == "lstm" else carried)
    h = end[0] if isinstance(end, tuple) else end
    loss = task.loss(model.answer(h), target)
    (gradient,) = torch.autograd.grad(loss, carried)
    assert flow.gradient_norms[t - 1] == pytest.approx(gradient.norm().item(), rel=1e-6)


def test_a_linear_orthogonal_model_neither_stretches_nor_shrinks():
    model = build("ortho")
    model.core = models.ortho(TASK.input_size, 6, nonlinearity="identity")
    flow = measure_gradient_flow(model, TASK, batch())
    assert flow.jacobian == pytest.approx([1] * 6, abs=1e-5)
    assert flow.spectrum == pytest.approx([1] * 6, abs=1e-5)
    assert flow.numbers()["gradient_first_to_last"] == pytest.approx(1, abs=1e-4)
    assert GradientFlow([1.0] * 5, [4.0, 3.0, 1.0], [2.0, 1.0], None).numbers() == {
        "gradient_first_to_last": 1.0,
        "jacobian_largest": 4.0,
        "jacobian_median": 3.0,
        "singular_value_largest": 2.0,
        "singular_value_smallest": 1.0,
        "singular_value_power": pytest.approx(32),
    }
    assert flow.saturation == 0


def test_a_scaled_weight_explodes_and_a_small_one_vanishes():
    for scale in (1.3, 0.5):
        model = build("ortho_free")
        model.core.nonlinearity = "identity"
        del model.core.modrelu_bias_l0
        recurrent_weight(model).mul_(scale)
        flow = measure_gradient_flow(model, TASK, batch())
        assert flow.jacobian == pytest.approx([scale ** (TASK.length - 1)] * 6, rel=1e-3)
        first = flow.numbers()["gradient_first_to_last"]
        assert first == pytest.approx(scale ** (TASK.length - 1), rel=1e-3)


def test_the_jacobian_starts_where_the_state_leaves_zero():
    model = build("ortho")
    seen = batch()
    dark = seen._replace(input=seen.input.clone())
    dark.input[:5] = 0
    flow = measure_gradient_flow(model, TASK, dark)
    assert flow.jacobian[0] > 0.5
    silent = seen._replace(input=torch.zeros_like(seen.input))
    assert measure_gradient_flow(model, TASK, silent).jacobian == pytest.approx([0] * 6)


def test_a_parametrized_weight_is_made_once_in_a_look(monkeypatch):
    calls = []
    real = linalg.exp
    monkeypatch.setattr(parametrizations, "exp", lambda a: calls.append(1) or real(a))
    measure_gradient_flow(build("exprnn"), TASK, batch())
    assert len(calls) <= 3  # for the spectrum and for the rest


def test_a_jacobian_that_would_take_too_long_is_left_out(monkeypatch):
    monkeypatch.setattr(gradient_flow, "MAX_JACOBIAN_WORK", TASK.length * 6**3 - 1)
    seen = measure_gradient_flow(build("ortho"), TASK, batch())
    assert seen.jacobian == []
    assert len(seen.gradient_norms) == TASK.length


def test_what_overflows_is_left_out():
    model = build("ortho_free").double()
    model.core.nonlinearity = "identity"
    del model.core.modrelu_bias_l0
    recurrent_weight(model).mul_(1e30)
    flow = measure_gradient_flow(model, TASK, batch())
    assert flow.jacobian == []
    assert flow.spectrum == pytest.approx([1e30] * 6, rel=1e-3)
    assert all(map(math.isfinite, flow.numbers().values()))
    recurrent_weight(model).fill_(math.nan)
    assert measure_gradient_flow(model, TASK, batch()).spectrum == []


def test_a_single_step_has_no_jacobian():
    one = Batch(torch.randn(1, 3, TASK.input_size), torch.zeros(1, 3).long())
    flow = measure_gradient_flow(build("ortho"), TASK, one)
    assert len(flow.gradient_norms) == 1
    assert flow.jacobian == []


def test_a_look_leaves_the_model_as_it_was():
    model = build("dtriv", Network(dropout=0.5)).train()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    random = torch.get_rng_state()
    measure_gradient_flow(model, TASK, batch())
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_through_several_layers_there_is_a_spectrum_alone():
    flow = measure_gradient_flow(build("ortho", Network(num_layers=2)), TASK, batch())
    assert flow.gradient_norms == flow.jacobian == []
    assert len(flow.spectrum) == 6
    assert not flow.empty
    assert measure_gradient_flow(build("lstm", Network(bidirectional=True)), TASK, batch()).empty


def test_the_recurrent_weight_is_found_where_there_is_one():
    rnn = build("rnn")
    assert torch.equal(recurrent_weight(rnn), rnn.core.weight_hh_l0)
    assert recurrent_weight(build("lstm")) is None
    w = recurrent_weight(build("exprnn"))
    torch.testing.assert_close(w.T @ w, torch.eye(6), rtol=0, atol=1e-5)
    assert isinstance(build("rnn").core, nn.RNN)


@pytest.mark.parametrize(
    "flow",
    [
        GradientFlow([1.0, 2.0], [1.0, 0.0], [1.0, 1.0], 0.1),
        GradientFlow([], [], [1.0, 0.5], None),
        GradientFlow([0.0, 0.0], [], [], None),
        GradientFlow([], [], [], None),
    ],
)
def test_any_flow_can_be_drawn(tmp_path, flow):
    plot_gradient_flow({"a": flow, "b": flow}, "title", tmp_path / "flow.png")
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
    assert all(map(math.isfinite, flow.numbers().values()))


@pytest.mark.slow
def test_the_figure_tells_vanishing_exploding_and_orthogonal_apart(tmp_path, capsys):
    arguments = ["--delay", "40", "--steps", "3", "--folder", str(tmp_path)]
    assert gradients.main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(
        subject.label in printed for subject in map(gradients.CASES.get, gradients.DEFAULT_CASES)
    )
    assert (tmp_path / "gradients.png").exists()
    told = json.loads((tmp_path / "gradients.json").read_text())["models"]
    first = {
        story["label"]: story["before"]["gradient_norms"][0] / story["before"]["gradient_norms"][-1]
        for story in told
    }
    assert first["RNN, tanh"] < 1e-6
    assert first["LSTM"] < 1e-2
    assert 0.5 < first["OrthoRNN"] < 1.5
    assert first[gradients.CASES["scaled"].label] > 5
    assert all(len(story["losses"]) == 3 for story in told)


def test_an_orthogonal_weight_keeps_the_gradient_only_where_the_slope_is_one(tmp_path, capsys):
    names = [name for name in NONLINEARITIES if name != "modrelu"]
    arguments = ["--models", *names, "--delay", "40", "--steps", "0", "--folder", str(tmp_path)]
    assert gradients.main(arguments) == 0
    assert capsys.readouterr().out.count("not trained") == len(names)
    told = json.loads((tmp_path / "gradients.json").read_text())["models"]
    norms = [story["before"]["gradient_norms"] for story in told]
    kept = {name: norm[0] / norm[-1] for name, norm in zip(names, norms, strict=True)}
    assert kept.pop("identity") == pytest.approx(1.0, abs=1e-5)  # W is drawn in float32
    assert 0 < max(kept.values()) < 0.5


def test_a_model_that_diverges_is_part_of_the_story(tmp_path):
    subject = gradients.Case(
        "wild", ("model=rnn", "model.nonlinearity=relu", "train.clip_grad_norm=null"), 9
    )
    story = gradients.train_and_measure(subject, 60, 5, 0)
    assert "at step" in story.outcome
    assert len(story.losses) < 5
    gradients.plot_cases([story], "wild", tmp_path / "wild.png")
    assert "at step" in gradients.format_cases([story])


@pytest.mark.parametrize(
    "arguments", [["--delay", "0"], ["--models", "mlp"], ["--seed", "-1"], ["--steps", "-1"]]
)
def test_impossible_arguments_are_refused(arguments, tmp_path):
    with pytest.raises(SystemExit) as stop:
        gradients.main([*arguments, "--folder", str(tmp_path)])
    assert stop.value.code == 2


def test_what_is_1_but_for_rounding_looks_so():
    flow = {"": GradientFlow([1 + 1e-7, 1.0], [1.0, 1 - 1e-7], [1.0, 1.0], None)}
    for draw in (
        gradient_flow.draw_gradients,
        gradient_flow.draw_jacobians,
        gradient_flow.draw_spectra,
    ):
        axes = Figure().subplots()
        draw(axes, flow)
        low, high = axes.get_ylim()
        assert low <= 0.9
        assert high >= 1.1
