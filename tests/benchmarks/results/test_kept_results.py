"""The results that the project keeps: the READMEs say what the records say, and no less."""

import json
import re

import pytest

from benchmarks.config.compose import CONF, compose_run
from benchmarks.config.fingerprint import setting
from benchmarks.records.record import to_json
from benchmarks.results import command
from benchmarks.results.archive import MAX_RECORD_BYTES
from benchmarks.results.definition import RESULTS, Experiment
from benchmarks.results.report import Report
from benchmarks.results.rows import best_settings
from tests.benchmarks.tuned_sources import sources

REPORT = Report()
NAMES = list(REPORT.definitions)
EXPERIMENTS = [name for name in NAMES if isinstance(REPORT.definition(name), Experiment)]
SEARCHES = [name for name in EXPERIMENTS if REPORT.definition(name).choose]


@pytest.mark.slow
def test_the_pages_say_what_the_records_say_and_those_are_as_defined(capsys):
    assert command.main(["check"]) == 0, capsys.readouterr().err


def test_every_folder_is_reported():
    assert sorted(path.parent.name for path in RESULTS.glob("*/experiment.yaml")) == sorted(NAMES)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_records_of_an_experiment_are_small_and_name_no_place(name):
    kept = REPORT.kept(name)
    records = [record for run in kept.values() for record in run.records]
    assert sum(len(to_json(record)) for record in records) <= MAX_RECORD_BYTES
    for run in kept.values():
        text = json.dumps(run.metadata)
        assert not re.search(r'"[^"]*(?:/home|/root|/tmp|/work|/Users|\\\\)', text), run.folder
        assert run.metadata["config"].get("data", {}).get("path") is None


def optimizer_setting(config):
    """What of a configuration a search is over."""
    own = {key: value for key, value in setting(config).items() if key.startswith("optimizer.")}
    return own | {"optimizer.lr_modrelu": None}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", SEARCHES)
def test_the_step_sizes_in_use_are_those_that_the_search_chose(name):
    experiment = REPORT.definition(name)
    for row, best in best_settings(REPORT.rows(name), experiment.choose).items():
        config = best.kept[0].metadata["config"]
        model = best.kept[0].metadata["model"]
        own = [o for o in best.overrides if o.partition("=")[0].partition(".")[0] != "optimizer"]
        assert config["optimizer"].get("lr_modrelu") is None, "searched with a step size of its own"
        used = optimizer_setting(compose_run(experiment.benchmark, own).config)
        assert used == optimizer_setting(config), row
        optimizers = "|".join(o.stem for o in CONF.glob("optimizer/*.yaml"))
        its = re.compile(rf"{config['name']}\w*_{model}_({optimizers})")  # also language_large_...
        texts = [text for option, text in sources(CONF).items() if its.fullmatch(option)]
        assert texts.count(f"The best of: python -m benchmarks.results run {name}") == 1


def test_no_kept_run_was_further_off_the_manifold_than_the_page_says():
    page = (RESULTS.parent / "orthornn" / "README.md").read_text(encoding="utf-8")
    bound, size = re.search(r"stayed below ([0-9.e-]+) at H up to (\d+)", page).groups()
    runs = [run.metadata for name in EXPERIMENTS for run in REPORT.kept(name).values()]
    ours = [run for run in runs if run["model"] == "ortho"]
    errors = [run["summary"]["largest_orthogonality_error"] for run in ours]
    assert float(bound) / 1.1 < max(errors) < float(bound)
    assert int(size) == max(run["hidden_size"] for run in ours)
