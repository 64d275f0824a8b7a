"""Keys that had another name: refused by it with the new one, read by it where a run is kept."""

import pytest

from benchmarks.config.fingerprint import FORMER_KEYS, fingerprint, setting, update_keys
from tests.benchmarks.commandline import TINY

pairs = pytest.mark.parametrize(("key", "former"), FORMER_KEYS.items())


@pairs
@pytest.mark.parametrize("sign", ["", "+", "++", "~"])
def test_a_former_key_is_refused_with_the_new_one(command, capsys, tmp_path, key, former, sign):
    with pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], f"{sign}{former}=1")
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {former} is now called {key}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("former", ["train.skip", "network.tied", "redo"])
def test_a_former_key_in_a_file_of_ones_own_is_refused(command, capsys, tmp_path, former):
    group, _, name = former.rpartition(".")
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    text = f"{group}:\n  {name}: 1\n" if group else f"{name}: 1\n"
    path = tmp_path / "mine" / "experiment" / "own.yaml"
    path.write_text(f"# @package _global_\n{text}", "utf-8")
    with pytest.raises(SystemExit) as stop:
        command("--config-dir", str(tmp_path / "mine"), *TINY["copy"], "experiment=own")
    assert stop.value.code == 2
    assert f"error: {former} is now called" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("key", "former"), [pair for pair in FORMER_KEYS.items() if "/" not in pair[0]]
)
def test_a_kept_run_reads_with_the_new_key_and_keeps_its_fingerprint(key, former):
    def config(name):
        group, _, last = name.rpartition(".")
        return {"name": "copy", "train": {"steps": 3}} | (
            {group: {last: 7}} if group else {last: 7}
        )

    assert update_keys(config(former)) == config(key) == update_keys(config(key))
    assert setting(config(former)) == setting(config(key))
    assert fingerprint(config(former)) == fingerprint(config(key))


def test_the_fingerprints_of_earlier_versions_stay():
    former = {"budget": 19000, "train": {"clip": 1.0, "decay": 0.5}, "network": {"tied": True}}
    assert fingerprint(former) == "448e2ac4e9"
    assert fingerprint(update_keys(former)) == "448e2ac4e9"
    assert "clip" in former["train"]  # what is kept is not written over


@pytest.mark.parametrize(
    ("key", "former", "now"),
    [
        ("optimizer.algorithm.adaptivity", "element", "elementwise"),
        ("optimizer.algorithm.adaptivity", "matrix", "scalar"),
        ("model.backend", "compiled", "c"),
    ],
)
def test_a_former_value_is_refused_with_the_new_one(command, capsys, tmp_path, key, former, now):
    with pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], f"++{key}={former}")
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {key}={former} is now called {key}={now}\n"
    assert not list(tmp_path.iterdir())
