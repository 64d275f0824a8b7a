"""Many runs are composed at once, and are what Hydra makes of each of them."""

import hydra
import pytest
from hydra.errors import HydraException

from benchmarks.config.compose import CONF, _inside, _without_hydra, compose_run
from benchmarks.config.fingerprint import run_name

LISTS = [
    [],
    ["model=lstm", "optimizer.lr=0.1", "seed=4"],
    ["seed=1", "seed=2", "train.steps=5", "optimizer=adam", "model=ortho_free"],
    ["experiment=copy_1000", "task.delay=7"],
    ["task.delay=7", "experiment=copy_1000"],
    ["train.clip_grad_norm=null", "+train.more={a: 1, b: [2, 3]}", "orthogonal.init=cayley"],
    ["model=exprnn", "optimizer.algorithm={alpha: 0.1}", "name='a b'"],
    ["parameter_budget=7", "train.batch_size=${train.steps}", "train.steps=${parameter_budget}"],
    ["train.steps=5", "++train.steps=6"],
    ["train.steps=5", "train.steps=${parameter_budget}"],
    ["train.steps=5", "train={steps: 7}"],
    ["seed=3", "++seed=4"],
    ["train.steps=7", "~train.steps=7"],
    ["~train.steps", "hydra.run.dir=here", "task.target_loss=1e-2"],
]


def by_hydra(overrides):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose("copy", overrides, return_hydra_config=True)
    config = _without_hydra(cfg)
    return (
        config,
        f"{_inside(config['name'])}/{run_name(config, cfg.hydra.runtime.choices.model)}",
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize("overrides", LISTS, ids=" ".join)
def test_a_run_is_what_hydra_composes(overrides):
    for _ in range(2):  # the second time from what is remembered
        config, model, folder = compose_run("copy", overrides)
        assert (config, folder) == by_hydra(overrides)
        assert f"model={model}" in overrides or model == "ortho"


@pytest.mark.parametrize(
    "wrong",
    ["task.dely=3", "task.delay.more=3", "optimizer.lr=[1", "seed.a=1", "train.steps=glob(*)"],
)
def test_what_hydra_refuses_is_refused_in_its_words(wrong):
    with pytest.raises(HydraException) as theirs:
        by_hydra(["model=lstm", wrong])
    with pytest.raises(HydraException) as ours:
        compose_run("copy", ["model=lstm", wrong])
    assert str(ours.value) == str(theirs.value)
