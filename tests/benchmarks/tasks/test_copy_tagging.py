import math

import pytest
import torch
from torch.nn import functional

from benchmarks.tasks.copy_tagging import CopyTagging


def drawn(task, batch_size=4):
    return task.draw(batch_size, torch.Generator().manual_seed(0))


def test_sequence_looks_like_the_drawing():
    task = CopyTagging(delay=5, symbols=3)
    batch = drawn(task)
    symbols = batch.input.argmax(-1)
    assert batch.input.shape == (11, 4, 9)
    assert torch.equal(batch.target[:3], symbols[-3:])
    assert torch.equal(batch.target[-3:], symbols[:3])
    assert symbols[3:-3].sum() == batch.target[3:-3].sum() == 0
    assert symbols[:3].min() >= 1
    assert not torch.equal(symbols[:3], symbols[-3:])


def answers(task, target, start, end):
    """Logits that know the blanks, and the tags of each end or nothing of them."""
    known = 50 * functional.one_hot(target, task.output_size).double()
    guess = torch.full_like(known, 0.0)
    guess[..., 0] = -50
    output = known.clone()
    if not start:
        output[: task.symbols] = guess[: task.symbols]
    if not end:
        output[-task.symbols :] = guess[-task.symbols :]
    return output


@pytest.mark.parametrize("options", [{}, {"delay": 3, "symbols": 2, "alphabet": 5}])
def test_baselines_are_the_losses_of_the_best_blind_and_the_best_causal_predictor(options):
    task = CopyTagging(**options)
    batch = drawn(task, 8)
    blind = task.loss(answers(task, batch.target, False, False), batch.target).item()
    causal = task.loss(answers(task, batch.target, False, True), batch.target).item()
    assert blind == pytest.approx(task.baseline, rel=1e-6)
    assert causal == pytest.approx(task.causal_baseline, rel=1e-6)
    assert task.baseline == pytest.approx(
        2 * task.symbols * math.log(task.alphabet) / (task.delay + 2 * task.symbols)
    )


def test_scores_tell_the_ends_apart():
    task = CopyTagging(delay=5)
    target = drawn(task, 8).target
    assert task.score(answers(task, target, True, True), target) == {"recall": 1, "foresight": 1}
    causal = task.score(answers(task, target, False, True), target)
    assert causal["recall"] == 1
    assert causal["foresight"] < 0.5


@pytest.mark.parametrize(
    ("scores", "solved"),
    [((5e-4, 1, 1), True), ((5e-4, 1, 0.9), False), ((5e-4, 0.9, 1), False), ((2e-3, 1, 1), False)],
)
def test_solved_means_every_tag_is_right(scores, solved):
    names = ("loss", "recall", "foresight")
    assert CopyTagging().is_solved(dict(zip(names, scores, strict=True))) is solved


@pytest.mark.parametrize("options", [{"delay": 0}, {"alphabet": 2.5}, {"symbols": 0}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        CopyTagging(**options)
