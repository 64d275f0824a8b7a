"""The names of the files that a run writes into its folder."""

from __future__ import annotations

METRICS, ABOUT, CONFIG = "metrics.jsonl", "run.json", "config.yaml"


CHECKPOINT, BEST = "checkpoint.pt", "best.pt"


FIGURE, CONFUSION = "loss.png", "confusion.png"


LOOKS, FLOW = "gradients.jsonl", "gradients.png"


EARLIER = "earlier"  # the folder of a run's attempts before the present one


SAMPLE = "sample.txt"


THINNED = "thinned"  # in run.json: of how many records how many are kept


EARLIER_CHECKPOINTS = "checkpoint-[0-9]*.pt"  # those before the newest, the latest first


WANDB_ID = "wandb/id"


# all that a run writes into its folder, in the order in which it can be moved away
WRITTEN = [ABOUT, METRICS, CONFIG, CHECKPOINT, EARLIER_CHECKPOINTS, BEST, FIGURE, CONFUSION, LOOKS]
