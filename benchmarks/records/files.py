"""The names of the files that a run writes into its folder."""

from __future__ import annotations

METRICS = "metrics.jsonl"  # one record a step
METADATA = "run.json"
CONFIG = "config.yaml"
CHECKPOINT = "checkpoint.pt"
EARLIER_CHECKPOINTS = "checkpoint-[0-9]*.pt"  # those before the newest, the latest first
BEST = "best.pt"
LOSS_FIGURE = "loss.png"
CONFUSION_FIGURE = "confusion.png"
ACCURACY_FIGURE = "accuracy.png"
STATES_FIGURE = "states.png"
GRADIENTS = "gradients.jsonl"  # one measurement of the gradient flow a line
GRADIENTS_FIGURE = "gradients.png"
SAMPLE = "sample.txt"
WANDB_ID = "wandb/id"
EARLIER = "earlier"  # the folder of a run's attempts before the present one

# all that a run writes into its folder, in the order in which it can be moved away
RUN_FILES = [
    METADATA, METRICS, CONFIG, CHECKPOINT, EARLIER_CHECKPOINTS, BEST, LOSS_FIGURE, CONFUSION_FIGURE,
    ACCURACY_FIGURE, STATES_FIGURE, GRADIENTS, GRADIENTS_FIGURE, SAMPLE, "wandb", "tensorboard",
]  # fmt: skip

THINNED = "thinned"  # a key of the metadata: of how many records how many are kept
