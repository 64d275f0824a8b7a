"""A batch of sequences as rows: time first, or packed, whatever form it came in."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from .packing import PackedLayout, packed_layout


class Sequences(NamedTuple):
    """Sequences of tokens or features, and the way back to their form.

    Attributes:
        rows: (T, B, ...) or packed (N, ...).
        layout: of packed rows; None for a dense batch.
        packed: what they were unpacked from, or None.
        batch_axis: where the batch was; None where there was none.
    """

    rows: Tensor
    layout: PackedLayout | None
    packed: PackedSequence | None
    batch_axis: int | None

    @classmethod
    def of(cls, input: Tensor | PackedSequence, batch_first: bool, axes: int) -> Sequences:
        """The rows of an input whose features have ``axes`` axes: 0 for tokens, else 1."""
        if isinstance(input, PackedSequence):
            layout = packed_layout(input.batch_sizes, input.data)
            return cls(input.data, layout, input, 1)
        if input.dim() == 1 + axes:
            return cls(input.unsqueeze(1), None, None, None)
        batch_axis = 0 if batch_first else 1
        return cls(input.transpose(0, 1) if batch_first else input, None, None, batch_axis)

    @property
    def batch_size(self) -> int:
        """B."""
        return self.rows.shape[1] if self.layout is None else len(self.layout.last_rows)

    def sort_states(self, hx: Tensor) -> Tensor:
        """A state as it was given, (1, B, H) or (1, H), as (B, H) in the order of the rows."""
        h = hx if self.batch_axis is None else hx.squeeze(0)
        order = None if self.packed is None else self.packed.sorted_indices
        return h if order is None else h.index_select(0, order)

    def restore_states(self, h: Tensor) -> Tensor:
        """The way back of :meth:`sort_states`."""
        order = None if self.packed is None else self.packed.unsorted_indices
        h = h if order is None else h.index_select(0, order)
        return h if self.batch_axis is None else h.unsqueeze(0)

    def restore(self, output: Tensor) -> Tensor | PackedSequence:
        """Rows (T, B, H) or (N, H) in the form of the input."""
        if self.packed is not None:
            return self.packed._replace(data=output)
        if self.batch_axis is None:
            return output.squeeze(1)
        return output.transpose(0, 1) if self.batch_axis == 0 else output
