"""Records in TensorBoard."""

from __future__ import annotations

import json
import math
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread

from benchmarks.config.fingerprint import setting
from benchmarks.diagnostics.gradient_flow import PLOT_FLOOR, GradientFlow
from benchmarks.records.record import Record

from .logger import RunIdentity

FLUSH_SECONDS = 10  # seconds after which what was logged is on the disk


class TensorBoardLogger:
    """Event files in the folder ``tensorboard`` of the run, read by ``tensorboard --logdir runs``.

    A resumed run leaves out what was logged after the step from which it goes on.

    Raises:
        ValueError: if TensorBoard is not installed.
    """

    def __init__(self, identity: RunIdentity) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                'tensorboard is not installed: pip install -e ".[tensorboard]"'
            ) from error
        self.last = identity.step
        self.hparams = {
            **setting(identity.config),
            "seed": identity.config.get("seed"),
            "group": identity.group,
        }
        folder = identity.folder / "tensorboard"
        self.writer = SummaryWriter(
            folder,
            purge_step=identity.step + 1 if identity.step else None,
            flush_secs=FLUSH_SECONDS,
        )
        self._text("config", json.dumps(identity.config, indent=2, ensure_ascii=False))

    def log_record(self, record: Record) -> None:
        """Every number under its own name."""
        self.last = int(record["step"])
        for name, value in record.items():
            if name != "step":
                self._scalar(name, value)

    def log_gradient_flow(self, step: int, flow: GradientFlow, figure: Path) -> None:
        """Histograms of the spectra, the drawing and the numbers, at the last record's step."""
        for name, value in flow.numbers().items():
            self._scalar(f"flow/{name}", value)
        for name, values in (("spectrum", flow.spectrum), ("jacobian", flow.jacobian)):
            if values:
                powers = np.array([math.log10(max(value, PLOT_FLOOR)) for value in values])
                self.writer.add_histogram(f"flow/log10_{name}", powers, self.last)
        self._image("flow/gradients", figure)

    def log_text(self, step: int, text: str) -> None:
        """The text as it stands."""
        self._text("sample", text)

    def close(self, summary: dict[str, Any], figures: dict[str, Path]) -> None:
        """The figures, and the settings beside the numbers of the summary."""
        from torch.utils.tensorboard.summary import hparams

        for name, path in figures.items():
            self._image(name, path)
        numbers = {
            f"summary/{name}": float(value)
            for name, value in summary.items()
            if isinstance(value, int | float)
        }
        for name, value in numbers.items():
            self._scalar(name, value)
        plain = {
            k: v if isinstance(v, int | float | str) else str(v) for k, v in self.hparams.items()
        }
        # writer.add_hparams would begin another run, in a folder below
        file: Any = self.writer.file_writer
        for part in hparams(plain, numbers):  # type: ignore[no-untyped-call]
            file.add_summary(part, self.last)
        self.writer.close()

    def _scalar(self, name: str, value: float) -> None:
        self.writer.add_scalar(name, value, self.last)

    def _image(self, name: str, path: Path) -> None:
        pixels = imread(path)
        self.writer.add_image(name, pixels, self.last, dataformats="HWC")

    def _text(self, name: str, text: str) -> None:
        code = textwrap.indent(text, "    ")  # Markdown: four spaces
        self.writer.add_text(name, code, self.last)
