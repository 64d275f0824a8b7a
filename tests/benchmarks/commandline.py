"""What the tests of the command line share: tiny settings of each benchmark, and reading a run."""

import json

from benchmarks.config.compose import CONF

_SHORT = ["train.steps=3", "train.batch_size=4", "threads=1", "train.gradient_flow_every=null"]
_EPOCHS = [*_SHORT, "train.epochs=null", "train.evaluation_batches=2"]
_SMALL_TEXT = ["data.name=null", "data.level=character", "task.window=5", "parameter_budget=2500"]
_SMALL_EMBEDDING = ["network.embedding_size=4", "network.num_layers=1", "network.tie_weights=false"]
TOKEN_MODELS = ["reflections", "switched", "switched_free", "switched_normalized"]
TOKEN_MODELS += ["switched_resets"]
TINY = {
    "copy": ["task.delay=5", "parameter_budget=500", *_SHORT],
    "tagging": ["task.delay=5", "parameter_budget=900", *_SHORT],
    "state_tracking": ["task.group=s3", "task.test_length=64", "parameter_budget=300", *_SHORT],
    "adding": ["task.length=6", "parameter_budget=100", "train.evaluation_batches=2", *_SHORT],
    "language": [*_SMALL_TEXT, *_SMALL_EMBEDDING, *_EPOCHS],
    "pixels": ["data.name=digits", "model.hidden_size=5", *_EPOCHS],
}


def options(group):
    """The choices of a group of the configuration."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def load(folder):
    """What run.json and metrics.jsonl hold."""
    about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return about, [json.loads(line) for line in lines]
