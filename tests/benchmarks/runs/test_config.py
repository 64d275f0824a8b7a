"""A configuration is validated once, as a whole, before anything is built."""

import pytest
from omegaconf import OmegaConf

from benchmarks.config.compose import compose
from benchmarks.config.errors import ConfigError
from benchmarks.models import Network
from benchmarks.runs.build import make_task
from benchmarks.runs.config import RunConfig
from benchmarks.training.settings import TrainSettings
from tests.benchmarks.commandline import TINY


@pytest.mark.parametrize("name", TINY)
def test_every_benchmark_is_an_object_with_the_values_that_were_composed(name):
    cfg = compose(name, TINY[name])
    config = RunConfig.of(cfg)
    assert config.plain == OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config.network, Network)
    assert isinstance(config.train, TrainSettings)
    assert config.train.batch_size == cfg.train.batch_size
    assert config.orthogonal.init == cfg.orthogonal.init
    assert (config.data is None) == ("data" not in cfg)


def test_a_configuration_does_not_change():
    config = RunConfig.of(compose("copy", TINY["copy"]))
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3


@pytest.mark.parametrize("key", sorted(RunConfig.model_fields.keys() - {"data", "model"}))
def test_a_key_that_is_missing_is_named(key):
    cfg = compose("copy", TINY["copy"])
    OmegaConf.set_struct(cfg, False)
    OmegaConf.resolve(cfg)
    del cfg[key]
    with pytest.raises(ConfigError, match=f"^{key} is missing$"):
        RunConfig.of(cfg)


def test_several_wrong_values_are_one_line():
    cfg = compose("copy", [*TINY["copy"], "train.warmup=-1", "train.patience=0"])
    with pytest.raises(ConfigError) as refused:
        RunConfig.of(cfg)
    text = str(refused.value)
    assert "train.warmup" in text
    assert "train.patience" in text
    assert "\n" not in text


def test_what_somebody_elses_model_takes_is_for_it_to_say():
    cfg = compose("copy", [*TINY["copy"], "model.backend=fused"])
    cfg.model._target_ = "theirs.RNN"
    assert RunConfig.of(cfg).model.backend == "fused"


@pytest.mark.parametrize("key", ["network", "train"])
def test_a_group_that_can_be_one_thing_is_no_namesake_of_it(key):
    cfg = compose("copy", TINY["copy"])
    cfg[key]._target_ = "theirs." + cfg[key]._target_.rpartition(".")[2]
    with pytest.raises(ConfigError, match=f"^{key} must make a .*theirs"):
        RunConfig.of(cfg)


@pytest.mark.parametrize("override", ["data=null", "~data"])
def test_a_task_that_reads_data_says_that_there_are_none(override):
    config = RunConfig.of(compose("language", [override]))
    with pytest.raises(ConfigError, match=r"^data must be a group of keys for this task"):
        make_task(config)


def test_what_somebody_elses_optimizer_takes_is_for_it_to_say():
    cfg = compose("copy", [*TINY["copy"], "++optimizer.algorithm.momentum=7"])
    cfg.optimizer.algorithm._target_ = "theirs.Optimizer"
    assert RunConfig.of(cfg).optimizer.algorithm.momentum == 7
