import math

import pytest
import torch

from benchmarks.system.seeding import named_generator
from benchmarks.tasks.copy_memory import CopyMemory


def drawn(task, seed=0, batch_size=4):
    return task.draw(batch_size, torch.Generator().manual_seed(seed))


def as_text(column, task):
    return "".join({0: "_", task.alphabet + 1: ":"}.get(int(s), str(int(s))) for s in column)


@pytest.mark.parametrize(
    ("variant", "silence"), [("arjovsky", "_" * 4 + ":" + "_" * 3), ("exprnn", "_" * 5 + ":__")]
)
def test_sequence_looks_like_the_drawing(variant, silence):
    task = CopyMemory(delay=5, symbols=3, variant=variant)
    batch = drawn(task)
    assert batch.input.shape == (11, 4, 10)
    for b in range(4):
        word = as_text(batch.target[-3:, b], task)
        assert as_text(batch.input[:, b].argmax(-1), task) == word + silence
        assert as_text(batch.target[:, b], task) == "_" * 8 + word
    assert torch.equal(batch.input.sum(-1), torch.ones(11, 4))


@pytest.mark.parametrize("delay", [1, 2, 200])
@pytest.mark.parametrize("variant", ["arjovsky", "exprnn"])
def test_lengths_and_recall_positions(delay, variant):
    task = CopyMemory(delay=delay, variant=variant)
    batch = drawn(task)
    assert len(batch.input) == len(batch.target) == task.length == delay + 20
    marker = batch.input[:, 0].argmax(-1).tolist().index(9)
    assert marker == delay + 20 - 10 - (variant == "arjovsky")


def test_symbols_are_uniform_over_the_alphabet():
    symbols = drawn(CopyMemory(delay=1), batch_size=20_000).target[-10:]
    shares = torch.bincount(symbols.flatten(), minlength=9) / symbols.numel()
    assert shares[0] == 0
    torch.testing.assert_close(shares[1:], torch.full((8,), 1 / 8), rtol=0, atol=0.003)


@pytest.mark.parametrize("options", [{}, {"delay": 1000}, {"symbols": 3, "alphabet": 5}])
def test_baseline_is_the_loss_of_the_best_blind_predictor(options):
    task = CopyMemory(**options)
    batch = drawn(task, batch_size=32)
    output = torch.full((task.length, 32, task.output_size), -1e4)
    output[: -task.symbols, :, 0] = 0
    output[-task.symbols :, :, 1:] = 0
    assert task.loss(output, batch.target).item() == pytest.approx(task.baseline, rel=1e-5)


@pytest.mark.parametrize(
    ("delay", "published"), [(200, 0.0945), (500, 0.0400), (1000, 0.0204), (2000, 0.0103)]
)
def test_baseline_equals_the_published_one(delay, published):
    assert CopyMemory(delay=delay).baseline == pytest.approx(published, abs=6e-5)
    assert CopyMemory(delay=delay).baseline == pytest.approx(10 * math.log(8) / (delay + 20))


def test_recall_counts_the_symbols_alone():
    task = CopyMemory(delay=5, symbols=4)
    batch = drawn(task, batch_size=1)
    answer = torch.nn.functional.one_hot(batch.target, 9).float()
    assert task.score(answer, batch.target) == {"recall": 1.0}
    answer[-1] = 0
    answer[-1, :, 0] = 1
    assert task.score(answer, batch.target) == {"recall": 0.75}
    answer[0] = 0  # a wrong answer before the recall does not count
    assert task.score(answer, batch.target) == {"recall": 0.75}


@pytest.mark.parametrize(
    ("loss", "recall", "solved"), [(5e-4, 1.0, True), (5e-4, 0.999, False), (2e-3, 1.0, False)]
)
def test_solved_means_below_the_target_with_every_symbol_recalled(loss, recall, solved):
    assert CopyMemory().is_solved({"loss": loss, "recall": recall}) is solved


def test_streams_repeat_and_differ_by_seed_and_purpose():
    task = CopyMemory(delay=3)

    def draw(seed, purpose):
        return task.draw(64, named_generator(seed, purpose)).target

    assert torch.equal(draw(1, "training"), draw(1, "training"))
    assert not torch.equal(draw(1, "training"), draw(2, "training"))
    assert not torch.equal(draw(1, "training"), draw(1, "evaluation"))


@pytest.mark.parametrize(
    "options", [{"delay": 0}, {"delay": "long"}, {"variant": "x"}, {"symbols": 1.5}, {"length": 3}]
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        CopyMemory(**options)
