"""Intervals and tests over seeds: what they cover and tell apart, what they refuse to say."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_ind

from benchmarks.comparison import statistics as room
from benchmarks.comparison.statistics import (
    bootstrap_interval,
    bootstrap_intervals,
    compare_with_best,
    format_p,
    holm_correction,
)


@pytest.mark.parametrize(("size", "covered"), [(3, 0.75), (5, 0.84), (10, 0.90)])
def test_an_interval_holds_the_true_mean_as_often_as_its_docstring_says(size, covered):
    samples = np.random.default_rng(1).standard_normal((1000, size))
    found = bootstrap_intervals(samples.tolist())
    assert np.mean([low < 0 < high for low, high in found]) == pytest.approx(covered, abs=0.04)
    assert f"{100 * covered:.0f} %" in bootstrap_intervals.__doc__


def test_intervals_of_many_samples_are_those_of_each_alone():
    samples = [[1.0, 2.0, 4.0], [], [3.0, 5.0, 1.0, 7.0], [2.0] * 3, [1.0, 2.0], [9.0, 8.0, 1.0]]
    together = bootstrap_intervals(samples)
    assert together == [bootstrap_interval(values) for values in samples]
    assert together[3] == (2.0, 2.0)
    assert together[1] is together[4] is None
    for values, bounds in zip(samples, together, strict=True):
        assert bounds is None or min(values) <= bounds[0] <= bounds[1] <= max(values)


def test_samples_of_one_size_are_resampled_at_once(monkeypatch):
    calls = []
    real = room.bootstrap
    monkeypatch.setattr(room, "bootstrap", lambda *a, **k: calls.append(1) or real(*a, **k))
    bootstrap_intervals(np.random.default_rng(0).random((200, 4)).tolist() + [[1.0, 2.0, 3.0]] * 50)
    assert len(calls) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_has_no_interval_and_no_rank(value):
    assert bootstrap_interval([1.0, value, 2.0]) is None
    verdicts = compare_with_best([[1.0, value, 2.0], [3.0, 4.0, 5.0]], higher=False, log=False)
    assert [verdict.kind for verdict in verdicts] == ["none", "best"]


@pytest.mark.parametrize(
    ("others", "kind"),
    [
        ([1.1, 1.2, 1.3], "alike"),
        ([2.0, 2.1, 2.2], "worse"),
        ([2.0, 2.0, 2.0], "worse"),
        ([2.0, 2.1], "few"),
        ([], "none"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_each_group_is_compared_with_the_best(others, kind, sign):
    samples = [[sign * v for v in values] for values in (others, [1.0, 1.1, 1.2])]
    verdicts = compare_with_best(samples, higher=sign < 0, log=False)
    assert [verdict.kind for verdict in verdicts] == [kind, "best"]
    assert (verdicts[0].p is None) == (kind in ("few", "none"))


def test_the_p_value_is_that_of_welch():
    samples = [[1.0, 1.5, 1.1], [2.0, 4.0, 1.4, 3.0]]
    expected = ttest_ind(*samples, equal_var=False).pvalue
    assert compare_with_best(samples, higher=False, log=False)[1].p == pytest.approx(expected)
    expected = ttest_ind(*np.log(samples[0:1]), np.log(samples[1]), equal_var=False).pvalue
    assert compare_with_best(samples, higher=False, log=True)[1].p == pytest.approx(expected)


def test_without_any_spread_there_is_no_test():
    same, other, rounded = [0.1 + 0.2] * 3, [0.5] * 3, [0.3, 0.3, 0.3]
    kinds = [v.kind for v in compare_with_best([same, other, rounded], higher=False, log=False)]
    assert kinds[1] == "flat"
    assert sorted((kinds[0], kinds[2])) == ["alike", "best"]


def test_too_few_seeds_of_the_best_leave_everything_untested():
    samples = [[0.1, 0.2], [1.0, 1.1, 1.2], [5.0]]
    verdicts = compare_with_best(samples, higher=False, log=False)
    assert [verdict.kind for verdict in verdicts] == ["best", "few", "few"]
    assert compare_with_best([[], []], higher=True, log=False)[0].kind == "none"


def test_holm_multiplies_by_what_is_left_and_never_falls():
    assert holm_correction([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm_correction([0.5, 0.9]) == [1.0, 1.0]
    assert holm_correction([]) == []


def test_a_correction_over_many_groups_takes_significance_away():
    rng = np.random.default_rng(3)
    best, close = [0.0, 0.1, 0.2], [0.25, 0.35, 0.45]
    (_, alone) = compare_with_best([best, close], higher=False, log=False)
    others = [(0.2 + rng.random(3)).tolist() for _ in range(20)]
    corrected = compare_with_best([best, close, *others], higher=False, log=False)[1]
    assert (alone.kind, corrected.kind) == ("worse", "alike")


def test_a_loss_of_zero_has_a_logarithm_too():
    kinds = [v.kind for v in compare_with_best([[0.0, 0.0, 0.0], [0.1, 0.2, 0.3]], False, True)]
    assert kinds == ["best", "worse"]


@pytest.mark.parametrize(("p", "text"), [(0.0004, "< 0.001"), (0.0123, "= 0.012"), (1.0, "= 1")])
def test_a_p_value_has_two_digits(p, text):
    assert format_p(p) == text
