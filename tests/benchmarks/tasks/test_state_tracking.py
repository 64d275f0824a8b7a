import math

import pytest
import torch
from torch.nn import functional

from benchmarks.tasks.curriculum import LengthCurriculum
from benchmarks.tasks.groups import group_elements
from benchmarks.tasks.state_tracking import StateTracking

AUTOMATA = [("s5", "all"), ("s5", "transpositions"), ("a4", "generators"), ("flip_flop", "all")]
each = pytest.mark.parametrize(("group", "alphabet"), AUTOMATA)


def drawn(task, batch_size=4, seed=0):
    return task.draw(batch_size, torch.Generator().manual_seed(seed))


def name(task, *cycles):
    """The index of a permutation of S_3, by where it sends 1, 2 and 3."""
    return group_elements("s3").index(tuple(image - 1 for image in cycles))


@each
def test_labels_are_the_states_of_a_slow_walk(group, alphabet):
    task = StateTracking(group=group, alphabet=alphabet, length=20)
    batch = drawn(task)
    table = task.automaton.table.tolist()
    for tokens, targets in zip(batch.input.T.tolist(), batch.target.T.tolist(), strict=True):
        state, walk = 0, []
        for token in tokens:
            state = table[token][state]
            walk.append(state)
        assert walk == targets


def test_the_drawing_of_a_group_is_right():
    task = StateTracking(group="s3")
    table = task.automaton.table
    swap, other, cycle = name(task, 2, 1, 3), name(task, 1, 3, 2), name(task, 2, 3, 1)
    back = name(task, 3, 1, 2)
    states = [0]
    for token in (swap, other, 0, cycle, swap):
        states.append(int(table[token, states[-1]]))
    assert states[1:] == [swap, back, back, 0, swap]


def test_tokens_are_uniform_and_fresh():
    task = StateTracking(group="a5", length=50)
    tokens = drawn(task, 2000).input
    shares = torch.bincount(tokens.flatten(), minlength=60) / tokens.numel()
    torch.testing.assert_close(shares, torch.full((60,), 1 / 60), rtol=0.15, atol=0)
    assert not torch.equal(drawn(task, seed=1).input, drawn(task).input)


@pytest.mark.parametrize(
    ("group", "alphabet", "length"),
    [
        ("s3", "all", 2),
        ("s3", "generators", 5),
        ("s3", "transpositions", 9),
        ("flip_flop", "all", 6),
    ],
)
def test_baseline_is_the_loss_of_the_best_predictor_that_sees_the_token_alone(
    group, alphabet, length
):
    task = StateTracking(group=group, alphabet=alphabet, length=length)
    batch = drawn(task, 200_000)
    pairs = batch.input * task.output_size + batch.target
    counts = torch.bincount(pairs.flatten(), minlength=task.input_size * task.output_size)
    table = counts.view(task.input_size, task.output_size).double()
    logits = (table / table.sum(1, keepdim=True)).log()
    assert task.loss(logits[batch.input], batch.target).item() == pytest.approx(
        task.baseline, rel=0.01
    )


def test_baseline_of_long_words_is_that_of_a_guess():
    assert StateTracking(length=100_000).baseline == pytest.approx(math.log(120), rel=1e-4)


def test_scores_are_of_all_steps_and_of_the_last():
    task = StateTracking(group="s3", length=4)
    target = drawn(task, 8).target
    output = functional.one_hot(target, 6).float()
    output[1] = output[1].roll(1, -1)
    assert task.score(output, target) == {"accuracy": 0.75, "last_accuracy": 1}
    output[3] = output[3].roll(1, -1)
    assert task.score(output, target) == {"accuracy": 0.5, "last_accuracy": 0}


@pytest.mark.parametrize(("length", "sequences"), [(2, 512), (64, 16), (256, 16), (20, 64)])
def test_a_batch_has_enough_tokens_and_a_multiple_of_the_batch_size(length, sequences):
    task = StateTracking(group="s3", length=length)
    batch = task.training(16, 0, torch.Generator().manual_seed(0))
    assert batch.input.shape == batch.target.shape == (length, sequences)


def test_the_stream_is_as_long_as_its_limit_and_the_same_each_time():
    task = StateTracking(group="a4", test_length=1024, horizon_limit=2500)
    words, again = task.stream.words(), task.stream.words()
    assert torch.equal(words.input, again.input)
    assert words.target.shape == (task.stream.limit, 64) == (2500, 64)
    before = torch.cat([torch.zeros_like(words.target[:1]), words.target[:-1]])
    assert torch.equal(task.automaton.table[words.input, before], words.target)
    drawn_in_test = next(task.held_out("test", 64, 1))
    assert not torch.equal(words.input[:256], drawn_in_test.input)


def test_the_stream_reaches_the_longest_of_its_lengths():
    assert StateTracking(test_length=1000, horizon_limit=64).stream.limit == 256


@pytest.mark.parametrize(
    ("test_length", "lengths"),
    [(64, (64,)), (1000, (64, 256)), (16_384, (64, 256, 1024, 4096, 16_384))],
)
def test_accuracies_are_taken_at_growing_lengths(test_length, lengths):
    assert StateTracking(test_length=test_length).stream.lengths == lengths


@pytest.mark.parametrize(
    "options",
    [
        {"group": "s4"},
        {"alphabet": "some"},
        {"alphabet": "transpositions", "group": "a5"},
        {"length": 1},
        {"test_length": 63},
        {"tokens_per_batch": 0},
    ],
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        StateTracking(**options)


def course(length=16):
    return StateTracking(group="s3", length=length).make_curriculum()


def lengths(curriculum, accuracies):
    seen = []
    for accuracy in accuracies:
        curriculum.update({"last_accuracy": accuracy})
        seen.append(curriculum.task.length)
    return seen


def test_a_length_is_doubled_after_twenty_mastered_batches_up_to_the_whole():
    assert lengths(course(), [1.0] * 100) == [2] * 19 + [4] * 20 + [8] * 20 + [16] * 41
    assert lengths(course(5), [1.0] * 60)[-1] == 5


def test_a_length_is_mastered_by_the_mean_of_the_last_twenty_batches():
    assert lengths(course(), [0.95] * 60) == [2] * 60
    assert lengths(course(), [0.0] * 50 + [1.0] * 20) == [2] * 69 + [4]


def test_a_course_goes_on_from_where_it_was_saved():
    accuracies = [0.94 + 0.03 * (k % 3) for k in range(90)]
    whole = lengths(course(), accuracies)
    first, second = course(), course()
    assert lengths(first, accuracies[:33]) == whole[:33]
    second.load_state_dict(first.state_dict())
    assert lengths(second, accuracies[33:]) == whole[33:]
    assert whole[-1] > 2


def test_a_course_of_a_task_shorter_than_its_first_stage_is_the_task():
    task = StateTracking(group="s3", length=2)
    assert LengthCurriculum(lambda length: task, 2, "last_accuracy").task is task
