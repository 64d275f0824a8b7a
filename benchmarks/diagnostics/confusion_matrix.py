"""The confusion matrix of a classification: counted batch by batch, then drawn."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from .figures import escape_dollars, write_figure


class ConfusionMatrix:
    """``counts[i, j]``: how often class i was taken for class j.

    Args:
        classes: their names.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.counts = torch.zeros(len(classes), len(classes), dtype=torch.int64)

    def see(self, output: Tensor, target: Tensor) -> None:
        """Count a batch: output ``(B, classes)``, target ``(B,)``."""
        size = len(self.classes)
        pairs = target * size + output.argmax(-1)
        self.counts += torch.bincount(pairs, minlength=size * size).view(size, size)

    def plot(self, title: str, path: Path) -> None:
        """Write a PNG: shares of each true class as shades, counts as numbers."""
        shares = self.counts / self.counts.sum(1, keepdim=True).clamp(min=1)
        right = int(self.counts.diagonal().sum())
        total = int(self.counts.sum())
        summary = f"test set: {right:,} of {total:,} right ({right / max(1, total):.2%})"
        figure = Figure(figsize=(6, 5.5), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
        ticks = range(len(self.classes))
        axes.set_xticks(ticks, self.classes)
        axes.set_yticks(ticks, self.classes)
        for i in ticks:
            for j in ticks:
                if self.counts[i, j]:
                    colour = "white" if shares[i, j] > 0.5 else "black"
                    text = str(int(self.counts[i, j]))
                    axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=8)
        axes.set(
            title=f"{escape_dollars(title)}\n{summary}",
            xlabel="answer",
            ylabel="true class",
        )
        axes.title.set_fontsize(10)
        write_figure(path, figure)
