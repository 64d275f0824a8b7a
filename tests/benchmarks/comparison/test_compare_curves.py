"""Curves over seeds: the median with its band, aligned by step, thinned without losing extremes."""

import math

import numpy as np
import pytest

from benchmarks.comparison.curves import Curve, gradient_curve, record_curve, smooth, thin_curve
from benchmarks.comparison.palette import DARK, LIGHT, MAX_COLORED_GROUPS, line_styles
from benchmarks.records.run import read_run
from tests.benchmarks.fake_runs import write_records, write_run


def runs_with(root, *seeds, name="metrics.jsonl"):
    found = []
    for seed, rows in enumerate(seeds):
        folder = write_run(root / str(seed), seed=seed)
        write_records(folder, rows, name)
        found.append(read_run(folder))
    return found


def rows(values, start=1, name="norm"):
    return [{"step": k, name: v} for k, v in enumerate(values, start)]


def test_a_curve_is_the_median_over_seeds_with_a_band_of_all(tmp_path):
    runs = runs_with(tmp_path, rows([1, 5, 3]), rows([2, 4, 9]), rows([6, 0, 4]))
    curve = record_curve(runs, "norm")
    assert curve.x.tolist() == [1, 2, 3]
    assert curve.middle.tolist() == [2, 4, 4]
    assert curve.low.tolist() == [1, 0, 3]
    assert curve.high.tolist() == [6, 5, 9]
    assert curve.seeds == 3


def test_seeds_are_aligned_by_their_steps(tmp_path):
    runs = runs_with(tmp_path, rows([1, 2, 3]), rows([9, 8], start=2), rows([7], name="other"))
    curve = record_curve(runs, "norm")
    assert curve.x.tolist() == [2, 3]
    assert curve.high.tolist() == [9, 8]
    assert curve.seeds == 2
    assert record_curve(runs, "unknown") is None
    assert record_curve([], "norm") is None


def test_a_step_that_was_repeated_counts_once(tmp_path):
    (run,) = runs_with(tmp_path, [*rows([1, 2, 3]), *rows([5, 6], start=3)])
    curve = record_curve([run], "norm")
    assert curve.x.tolist() == [1, 2, 3, 4]
    assert curve.middle.tolist() == [1, 2, 5, 6]


def test_what_is_not_finite_is_a_gap(tmp_path):
    runs = runs_with(tmp_path, rows([1, math.inf, 3]), rows([1, 2, math.nan]))
    assert np.isnan(record_curve(runs, "norm").middle).tolist() == [False, True, True]


def test_smoothing_is_over_a_hundredth(tmp_path):
    values = np.random.default_rng(0).random(300)
    (run,) = runs_with(tmp_path, rows(values.tolist()))
    curve = record_curve([run], "norm", smooth)
    assert curve.middle[100] == pytest.approx(values[98:101].mean())


def test_a_thin_curve_keeps_its_extremes_and_its_band():
    rng = np.random.default_rng(0)
    middle = rng.random(10_007)
    curve = Curve(
        np.arange(10_007.0), middle, middle - rng.random(10_007), middle + rng.random(10_007), 3
    )
    curve.middle[[0, 5000, 9000]] = (-3.0, 7.0, math.nan)
    curve.middle[2000:2300] = math.nan
    curve.middle[[3333, 7777]] = 0.5
    curve.low[3333], curve.high[7777] = -50.0, 50.0  # where the median is nothing special
    thinned = thin_curve(curve, 200)
    assert 100 <= len(thinned.x) <= 200
    assert (np.diff(thinned.x) > 0).all()
    assert np.nanmin(thinned.middle) == -3.0
    assert np.nanmax(thinned.middle) == 7.0
    assert 0 < np.isnan(thinned.middle).sum() < 5  # the gap
    assert thinned.low.min() == -50.0
    assert thinned.high.max() == 50.0
    assert thin_curve(curve, 20_000) is curve


def look(step, *norms):
    return {"step": step, "gradient_norms": list(norms), "jacobian": [], "spectrum": []}


def test_gradients_through_time_are_those_of_the_last_look_relative_to_the_last_step(tmp_path):
    name = "gradients.jsonl"
    runs = runs_with(
        tmp_path, [look(0, 1, 1), look(30, 1, 2)], [look(30, 3, 4)], [look(30, 1, 0)], name=name
    )
    curve, step = gradient_curve(runs)
    assert step == 30
    assert curve.x.tolist() == [1, 2]
    assert curve.high.tolist() == [0.75, 1]
    assert curve.low.tolist() == [0.5, 1]
    assert curve.seeds == 2
    with (runs[1].folder / name).open("a") as file:
        file.write('{"step": 40, "gradi')  # cut short
    assert gradient_curve(runs[1:])[0].high.tolist() == [0.75, 1]
    assert gradient_curve(runs[2:]) is None
    (runs[2].folder / name).unlink()
    assert gradient_curve(runs[2:]) is None


def test_ten_groups_look_different_and_the_others_are_grey():
    found = line_styles(14)
    assert len(set(found[:MAX_COLORED_GROUPS])) == MAX_COLORED_GROUPS
    assert {look.hue for look in found[MAX_COLORED_GROUPS:]} == {None}
    assert line_styles(0) == []


def _luminance(colour):
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize(("hues", "ground"), [(LIGHT, "#ffffff"), (DARK, "#14171a")])
def test_every_hue_stands_out_from_the_ground(hues, ground):
    for hue in hues:
        dark, light = sorted((_luminance(hue), _luminance(ground)))
        assert (light + 0.05) / (dark + 0.05) > 4  # contrast ratio of WCAG; 3 for graphics
