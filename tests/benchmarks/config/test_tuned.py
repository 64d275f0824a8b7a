"""The tables of step sizes: every row is an option of Hydra's, applied without being named."""

import pytest

from benchmarks.config.compose import CONF, compose
from benchmarks.config.errors import ConfigError
from benchmarks.config.tuned import load_tables, register_tables
from benchmarks.runs.build import make_state
from benchmarks.runs.config import RunConfig


def test_a_row_sets_the_step_sizes_of_its_model_and_optimizer():
    cfg = compose("language", ["experiment=language_shakespeare_large"])
    assert (cfg.optimizer.lr, cfg.optimizer.lr_ortho) == (2.5e-3, 1e-3)
    cfg = compose("language", ["experiment=language_shakespeare_large", "model=exprnn"])
    assert (cfg.optimizer.lr, cfg.optimizer.lr_ortho) == (5e-3, 3e-3)  # of language_large


def test_the_tables_leave_no_key_in_the_configuration():
    assert "tuned" not in compose("copy", [])
    assert compose("copy", ["~tuned"]).optimizer.lr == 1e-3


@pytest.mark.parametrize("name", load_tables(CONF))
def test_every_row_is_of_a_model_and_an_optimizer_that_there_are(name):
    files = {
        group: {p.stem for p in CONF.glob(f"{group}/*.yaml")} for group in ("model", "optimizer")
    }
    assert any(
        name.endswith(f"_{model}_{optimizer}")
        for model in files["model"]
        for optimizer in files["optimizer"]
    )


def test_a_table_of_ones_own_is_found(tmp_path):
    (tmp_path / "tuned").mkdir()
    text = "mine:\n  adam:\n    gru: {lr: 0.5}\n"
    (tmp_path / "tuned" / "mine.yaml").write_text(text, encoding="utf-8")
    register_tables(tmp_path)
    assert compose("language", ["model=gru", "tuned=mine_gru_adam"]).optimizer.lr == 0.5


@pytest.mark.parametrize(
    "text", ["mine: {adam: {lr: 0.5}}\n", "mine: {adam: }\n", "mine: {adam: {gru: }}\n", "- 1\n"]
)
def test_a_file_that_is_no_table_is_named(tmp_path, text):
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml must hold TABLE"):
        load_tables(tmp_path)


def test_an_option_in_a_file_of_its_own_is_left_to_hydra(tmp_path):
    (tmp_path / "tuned").mkdir()
    text = "# @package _global_\noptimizer:\n  lr: 0.5\n"
    (tmp_path / "tuned" / "copy_mine_rmsprop.yaml").write_text(text, encoding="utf-8")
    assert load_tables(tmp_path) == {}


@pytest.mark.parametrize("model", sorted(path.stem for path in (CONF / "model").glob("*.yaml")))
def test_every_model_starts_on_state_tracking_without_a_further_key(model):
    config = RunConfig.of(compose("state_tracking", [f"model={model}"]))
    _, _, state = make_state(config)
    assert all(group["lr"] > 0 for group in state.optimizer.param_groups)
