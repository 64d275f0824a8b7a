import pytest
import torch

from benchmarks.tasks.adding import Adding


def drawn(task, batch_size=4, seed=0):
    return task.draw(batch_size, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("length", [2, 3, 8, 9, 200])
def test_sequence_looks_like_the_drawing(length):
    batch = drawn(Adding(length=length), 500)
    assert batch.input.shape == (length, 500, 2)
    values, markers = batch.input.unbind(-1)
    half = length // 2
    assert torch.equal(markers[:half].sum(0), torch.ones(500))
    assert torch.equal(markers[half:].sum(0), torch.ones(500))
    assert set(markers.unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close((values * markers).sum(0), batch.target)
    assert 0 <= values.min() < values.max() < 1


def test_values_and_places_are_uniform():
    batch = drawn(Adding(length=10), 50_000)
    values, markers = batch.input.unbind(-1)
    torch.testing.assert_close(markers.mean(1), torch.full((10,), 0.2), rtol=0, atol=0.01)
    torch.testing.assert_close(values.mean(1), torch.full((10,), 0.5), rtol=0, atol=0.01)
    torch.testing.assert_close(values.var(1), torch.full((10,), 1 / 12), rtol=0.03, atol=0)


def test_baseline_is_the_loss_of_the_best_blind_predictor():
    task = Adding(length=50)
    batch = drawn(task, 200_000)
    losses = {
        answer: task.loss(torch.full((200_000, 1), answer), batch.target).item()
        for answer in (0.9, 1.0, 1.1)
    }
    assert losses[1.0] == pytest.approx(task.baseline, rel=0.01)
    assert losses[1.0] == min(losses.values())
    last = batch.input[-1]  # what a model without memory sees does not help
    best = torch.linalg.lstsq(
        torch.cat([last, torch.ones(200_000, 1)], 1), batch.target[:, None]
    ).solution
    seen = task.loss(torch.cat([last, torch.ones(200_000, 1)], 1) @ best, batch.target)
    assert seen.item() > 0.95 * task.baseline


def test_an_answer_is_correct_within_four_hundredths():
    target = torch.tensor([1.0, 1.0, 1.0, 1.0])
    output = torch.tensor([[1.039], [0.961], [1.041], [0.0]])
    assert Adding().score(output, target) == {"correct": 0.5}
    edges = torch.tensor([[0.0399], [0.0401]])
    assert Adding().score(edges, torch.zeros(2)) == {"correct": 0.5}


def test_held_out_sets_repeat_and_differ_from_each_other():
    task = Adding(length=7)

    def first(split):
        return next(iter(task.held_out(split, 16, 2))).input

    assert torch.equal(first("test"), first("test"))
    assert not torch.equal(first("test"), first("validation"))
    assert len(list(task.held_out("validation", 16, 3))) == 3
    with pytest.raises(ValueError, match="number of evaluation batches"):
        next(iter(task.held_out("test", 16, None)))


@pytest.mark.parametrize("options", [{"length": 1}, {"length": "long"}, {"target_loss": 0}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Adding(**options)


@pytest.mark.parametrize(("loss", "solved"), [(9e-4, True), (1e-3, False)])
def test_solved_means_below_the_target(loss, solved):
    assert Adding().is_solved({"loss": loss, "correct": 0.0}) is solved
