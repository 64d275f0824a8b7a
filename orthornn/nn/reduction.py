"""From a switched network to the smaller one on the subspace that its states use."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from orthornn.linalg import polar_svd

from .switched import SwitchedOrthoRNN

STATES_PER_DIMENSION = 10  # that reduce() has to see, at the least


class Reduction(NamedTuple):
    """A smaller network, and how it lies in the one it comes from."""

    module: SwitchedOrthoRNN
    """Of hidden size m, with a matrix a token."""
    basis: Tensor
    """U, (H, m), orthonormal columns: a state h of the network is about U times the smaller one."""
    spectrum: Tensor
    """The second moments of the states along U and beyond, largest first, of sum 1, (H,)."""
    defect: float
    """The largest ``‖UᵀW(x)U - W'(x)‖`` (Frobenius): how far each W(x) was from keeping U."""

    @torch.no_grad()
    def fold(self, readout: nn.Linear) -> nn.Linear:
        """The readout of the smaller states: ``readout.weight @ U``, the bias as it was.

        Raises:
            ValueError: for a readout of another width.
        """
        if readout.in_features != len(self.basis):
            raise ValueError(
                f"expected a readout of {len(self.basis)} features, got {readout.in_features}"
            )
        w, bias = readout.weight, readout.bias is not None
        size = self.basis.shape[1]
        folded = nn.Linear(size, readout.out_features, bias, device=w.device, dtype=w.dtype)
        folded.weight.copy_(w.double() @ self.basis.double())
        if bias:
            folded.bias.copy_(readout.bias)
        return folded


@torch.no_grad()
def reduce(
    module: SwitchedOrthoRNN,
    words: Tensor | PackedSequence,
    *,
    threshold: float = 0.05,
    min_gap: float = 5.0,
) -> Reduction:
    """The network on the subspace that the states of sample words use, without training.

    A network that has learned the word problem of a group in more dimensions than it needs uses
    fewer. With U the eigenvectors of the states' second moments that are not small,

        W'(x) = polar(Uᵀ W(x) U),   h_0' = Uᵀ h_0,   V'(x) = Uᵀ V(x),   r'(x) = Uᵀ r(x),

    and a readout is to be multiplied by U (:meth:`Reduction.fold`). What the states do not use was
    never trained, and errors leak into it; without it the horizon grows 10 to 100 times.

    Args:
        module: a trained network; reflections become matrices.
        words: sample tokens as ``module`` takes them, some thousands in all, from its own initial
            state.
        threshold: what share of the largest second moment is not small, above 0 and below 1.
        min_gap: the least ratio of the smallest moment kept to the largest left out, from 1.

    Returns:
        A new network, free of ``init`` and ``determinant``, all of whose parameters may be trained.

    Raises:
        TypeError: for another module.
        ValueError: where there is no gap, with the spectrum; for too few words, or options out of
            their range.
        RuntimeError: as the module, for words that it does not take.
        torch.linalg.LinAlgError: for parameters with NaN or Inf.
    """
    if not isinstance(module, SwitchedOrthoRNN):
        raise TypeError(f"reduce expects a SwitchedOrthoRNN, got {type(module).__name__}")
    if not (0 < threshold < 1 and 1 <= min_gap < math.inf):
        raise ValueError(
            f"expected 0 < threshold < 1 and a finite min_gap >= 1, got {threshold} and {min_gap}"
        )
    output, _ = module(words)
    rows = output.data if isinstance(output, PackedSequence) else output.flatten(0, -2)
    least = STATES_PER_DIMENSION * module.hidden_size
    if len(rows) < least:  # too few would lie in a subspace by themselves
        raise ValueError(f"expected words of at least {least} tokens in all, got {len(rows)}")
    states = torch.cat([module.initial_state.unsqueeze(0), rows]).double()
    moments, vectors = torch.linalg.eigh(states.mT @ states / len(states))
    spectrum = moments.flip(0).clamp(min=0)
    spectrum = spectrum / spectrum.sum().clamp(min=torch.finfo(spectrum.dtype).tiny)
    size = int((spectrum > threshold * spectrum[0]).sum())
    if size in (0, len(spectrum)) or spectrum[size - 1] < min_gap * spectrum[size]:
        raise ValueError(
            f"expected a gap of at least {min_gap:g} in the second moments of the states, below "
            f"{threshold:g} of the largest, got none: {_text(spectrum)}"
        )
    u = vectors.flip(1)[:, :size]
    inside = u.mT @ module.matrices().double() @ u
    matrices = polar_svd(inside)
    defect = torch.linalg.matrix_norm(inside - matrices).max().item()
    smaller = SwitchedOrthoRNN(
        module.num_embeddings,
        size,
        module.batch_first,
        device=module.initial_state.device,
        dtype=module.initial_state.dtype,
        additive=module.additive,
        resets=module.resets,
        retraction=module.retraction,
        backend=module.backend,
    )
    smaller.weight_hh.copy_(matrices)
    smaller.initial_state.copy_(module.initial_state.double() @ u)
    for name in ("shift", "reset"):
        if (table := getattr(module, name)) is not None:
            getattr(smaller, name).weight.copy_(table.weight.double() @ u)
    if module.gate is not None and smaller.gate is not None:
        smaller.gate.weight.copy_(module.gate.weight)
    return Reduction(smaller.train(module.training), u.to(rows.dtype), spectrum, defect)


def _text(spectrum: Tensor) -> str:
    shown = ", ".join(f"{value:.2g}" for value in spectrum[:16].tolist())
    return f"{shown}, ..." if len(spectrum) > 16 else shown
