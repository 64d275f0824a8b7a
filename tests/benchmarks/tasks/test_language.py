import math

import pytest
import torch
from torch.nn import functional

from benchmarks.data.corpora import Corpus, load_corpus
from benchmarks.tasks.baseline import smoothed_count_loss
from benchmarks.tasks.language import Language
from benchmarks.tasks.task import derived


def corpus(training, validation=None, test=None, symbols="abcdefghijklmnopqrstuvwxyz_", **options):
    parts = [training, validation or training, test or training]
    tokens = (torch.tensor([symbols.index(s) for s in part]) for part in parts)
    return Corpus("a text", options.get("level", "character"), tuple(symbols), *tokens)


def text(tokens):
    return "".join("abcdefghijklmnopqrstuvwxyz_"[t] for t in tokens)


def test_windows_look_like_the_drawing():
    task = Language(corpus("the_cat_sat_on_the_mat"), window=4)
    assert task.steps_per_epoch(2) == 3
    windows = [task.training(2, step, torch.Generator()) for step in range(4)]
    assert [text(w.input[:, 0]) for w in windows] == ["the_", "cat_", "sa", "the_"]
    assert [text(w.target[:, 0]) for w in windows] == ["he_c", "at_s", "at", "he_c"]
    assert [text(w.input[:, 1]) for w in windows] == ["_on_", "the_", "ma", "_on_"]
    assert [w.carries_state for w in windows] == [False, True, True, False]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
@pytest.mark.parametrize("window", [1, 4, 100])
def test_an_epoch_reads_every_column_once_and_predicts_each_next_token(batch_size, window):
    training = "".join("abcdefghijklmnopqrstuvwxyz_"[k * k % 27] for k in range(101))
    task = Language(corpus(training), window=window)
    steps = range(task.steps_per_epoch(batch_size))
    batches = [task.training(batch_size, step, torch.Generator()) for step in steps]
    inputs, targets = (torch.cat([getattr(b, n) for b in batches]) for n in ("input", "target"))
    length = 101 // batch_size
    for column in range(batch_size):
        stretch = training[column * length : (column + 1) * length]
        assert text(inputs[:, column]) == stretch[:-1]
        assert text(targets[:, column]) == stretch[1:]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_held_out_text_is_read_from_start_to_end_with_the_state_carried(split):
    task = Language(corpus("ab" * 50, "cd" * 50, "ef" * 51), window=7)
    batches = list(task.held_out(split, 4, None))
    assert [b.carries_state for b in batches] == [False] + [True] * (len(batches) - 1)
    read = sum(b.target.numel() for b in batches)
    length = len(getattr(task.data, split))
    columns = batches[0].input.shape[1]
    assert read == columns * (length // columns - 1)
    assert set(text(torch.cat([b.input for b in batches]).flatten())) == set(
        {"validation": "cd", "test": "ef"}[split]
    )
    assert len(list(task.held_out(split, 4, 2))) == 2


def test_a_short_held_out_text_is_one_column():
    task = Language(corpus("ab" * 500, "abc"), window=100)
    (batch,) = task.held_out("validation", 32, None)
    assert text(batch.input[:, 0]) == "ab"


@pytest.mark.parametrize(("length", "columns"), [(100, 1), (199, 1), (200, 10), (4000, 32)])
def test_held_out_columns_are_at_least_two_windows_long(length, columns):
    window = 10 if length == 200 else 100 if length < 200 else 20
    task = Language(corpus("ab" * 5000, "a" * length), window=window)
    batch = next(iter(task.held_out("validation", 32, None)))
    assert batch.input.shape[1] == columns


def test_bits_and_perplexity_follow_from_the_mean_loss():
    scores = derived(Language(corpus("abcabc")), {"loss": math.log(2) * 3})
    assert scores["bits_per_character"] == pytest.approx(3)
    words = Language(corpus("abcabc", level="word"))
    assert derived(words, {"loss": math.log(7)})["perplexity"] == pytest.approx(7)
    assert derived(words, {"loss": 1e6})["perplexity"] == math.inf
    assert derived(words, {"loss": 800.0})["perplexity"] == math.inf


def test_baseline_is_the_loss_of_a_hand_built_bigram_table():
    data = load_corpus("pydoc")
    task = Language(data)
    types = len(data.vocabulary)
    counts = torch.zeros(types, types, dtype=torch.float64)
    pairs = (data.training[:-1], data.training[1:])
    counts.index_put_(pairs, torch.ones((), dtype=torch.float64), accumulate=True)
    frequency = torch.bincount(data.training[1:], minlength=types).double() + 1
    frequency /= frequency.sum()
    losses = []
    for s in (1, 10, 100, 1000):
        table = (counts + s * frequency) / (counts.sum(1, keepdim=True) + s)
        logits = table.log()[data.validation[:-1]]
        losses.append(functional.cross_entropy(logits, data.validation[1:]).item())
    assert task.baseline == pytest.approx(min(losses), rel=1e-9)
    blind = functional.cross_entropy(
        frequency.log().expand(len(data.validation) - 1, -1), data.validation[1:]
    )
    assert task.baseline < 0.8 * blind.item()


def test_counted_loss_of_an_unseen_context_falls_back_on_the_frequencies():
    a, b = torch.tensor([0, 0, 0]), torch.tensor([1, 1, 2])
    loss = smoothed_count_loss(a, b, torch.tensor([5]), torch.tensor([1]), 3)
    assert loss == pytest.approx(-math.log((2 + 1) / (3 + 3)))


def test_a_text_too_short_for_the_batch_is_refused():
    with pytest.raises(ValueError, match="batch_size=9 needs a text of at least 18 tokens, got 8"):
        Language(corpus("abcabcab")).steps_per_epoch(9)


@pytest.mark.parametrize("options", [{"window": 0}, {"window": 2.5}, {"target_loss": -1.0}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Language(corpus("abc"), **options)
