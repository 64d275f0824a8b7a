"""The whole model: what stands before and after a recurrent core, the same for every core."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.utils import parametrize

from orthornn import in_segments

from .elman import UnconstrainedRNN

MAX_LAYERS = 128
MAX_EMBEDDING_SIZE = 1_000_000  # of an embedding's row

State = Tensor | tuple[Tensor, ...]


class SequenceModel(nn.Module):
    """``output_t = A h_t + c`` over the states of a recurrent core, Dropout before A.

    With ``tokens`` the core reads rows of an embedding, after another Dropout; tied, ``A`` is the
    matrix of the embedding, behind a projection ``P h_t`` if the widths differ (Press & Wolf,
    2017). A core that has a matrix for each token reads the tokens themselves. A single answer is
    read where each direction of the last layer has seen everything.

    A is Kaiming normal and c zero for every model; an embedding that is not tied is torch's,
    N(0, 1).

    Args:
        core: ``(x, state) -> (output, state)``, with the interface of ``torch.nn.RNN``.
        input_size: I, features of the input, or size of the vocabulary.
        output_size: O.
        hidden_size: H, units of each direction.
        features: D·H of the core's output.
        tokens: whether the input is indices instead of features.
        embedded: whether the core reads rows of an embedding of the tokens, not these themselves.
        sequence_level: whether there is one output for each sequence, instead of one for each step.
        embedding_size: E, for tokens; H if None.
        tie_weights: whether the readout shares the embedding's weight.
        dropout: probability of zeroing an entry of an embedding or of the core's output.
        checkpoint_steps: steps of time whose states are held at once
            (:func:`orthornn.in_segments`); all if None.

    Shape:
        ``(T, B, I)``, or ``(T, B)`` of int64 for tokens, to ``(T, B, O)`` or ``(B, O)``; the state
        is the core's own.

    Raises:
        ValueError: if a readout is tied without an embedding or to a vocabulary that is not O, an
            embedding size is given without an embedding, or segments for a core that reads from
            both ends or whose weights are functions of its parameters.
    """

    def __init__(
        self,
        core: nn.Module,
        *,
        input_size: int,
        output_size: int,
        hidden_size: int,
        features: int,
        tokens: bool = False,
        embedded: bool = True,
        sequence_level: bool = False,
        embedding_size: int | None = None,
        tie_weights: bool = False,
        dropout: float = 0.0,
        checkpoint_steps: int | None = None,
    ) -> None:
        super().__init__()
        if checkpoint_steps is not None and features != hidden_size:
            raise ValueError("checkpoint_steps needs a network that reads in one direction")
        if checkpoint_steps is not None and any(map(parametrize.is_parametrized, core.modules())):
            # each segment, and each second pass, would make the weight anew
            raise ValueError("checkpoint_steps needs a model whose weights are its parameters")
        if tie_weights and not tokens:
            raise ValueError("tie_weights=True needs a task whose input is tokens")
        if tie_weights and input_size != output_size:
            raise ValueError(
                "tie_weights=True needs as many outputs as tokens, "
                f"got output_size={output_size} and input_size={input_size}"
            )
        if embedding_size is not None and not tokens:
            raise ValueError(f"embedding_size={embedding_size} needs a task whose input is tokens")
        if not embedded and (tie_weights or embedding_size is not None):
            raise ValueError(
                "this model reads the tokens themselves and has no embedding: "
                "tie_weights must be False and embedding_size None, "
                f"got {tie_weights} and {embedding_size}"
            )
        self.core = core
        self.checkpoint_steps = checkpoint_steps
        self.hidden_size = hidden_size
        self.features = features
        self.sequence_level = sequence_level
        self.dropout = nn.Dropout(dropout)
        width = hidden_size if embedding_size is None else embedding_size
        self.embedding = nn.Embedding(input_size, width) if tokens and embedded else None
        self.projection = (
            nn.Linear(features, width, bias=False) if tie_weights and features != width else None
        )
        self.readout = nn.Linear(width if tie_weights else features, output_size)
        nn.init.kaiming_normal_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)
        if tie_weights and self.embedding is not None:
            self.embedding.weight = self.readout.weight

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run over ``x`` from ``state``, zero if None; returns ``(output, state)``."""
        x = self.embed(x)
        if self.checkpoint_steps is None:
            h, end = self.core(x, state)
            return self.answer(h), end
        read = _last_step if self.sequence_level else self.answer
        h, end = in_segments(self.core, x, state, read=read, steps=self.checkpoint_steps)
        assert h is not None
        return self.answer(h) if self.sequence_level else h, end

    def embed(self, x: Tensor) -> Tensor:
        """What the core reads: ``x`` itself, or the rows of the embedding."""
        return x if self.embedding is None else self.dropout(self.embedding(x))

    def answer(self, h: Tensor) -> Tensor:
        """The output of the core's states, ``(T, B, D·H)`` to ``(T, B, O)`` or ``(B, O)``."""
        if self.sequence_level:
            H = self.hidden_size
            h = torch.cat([h[-1, :, :H], h[0, :, H:]], -1)
        h = self.dropout(h)
        if self.projection is not None:
            h = self.projection(h)
        output: Tensor = self.readout(h)
        return output

    def penalty(self) -> Tensor | None:
        """What the core adds to the objective, a scalar; None if it has no penalty."""
        return self.core.penalty() if isinstance(self.core, UnconstrainedRNN) else None


def _last_step(h: Tensor) -> Tensor:
    return h[-1:]


@dataclass(frozen=True, config={"extra": "forbid", "strict": True})
class Network:
    """The shape of a model, beside its width.

    Args:
        num_layers: stacked layers L.
        bidirectional: whether to read the sequence from both ends.
        dropout: probability of zeroing, in training, between layers, before the readout and after
            an embedding.
        embedding_size: of tokens; the hidden size if None.
        tie_weights: whether the readout shares the embedding's weight.
        checkpoint_steps: steps of time whose states are held at once, the others being computed
            again; None holds all.

    Raises:
        ValueError: for a value out of its range.
    """

    num_layers: Annotated[int, Field(gt=0, le=MAX_LAYERS)] = 1
    bidirectional: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    embedding_size: Annotated[int, Field(gt=0, le=MAX_EMBEDDING_SIZE)] | None = None
    tie_weights: bool = False
    checkpoint_steps: Annotated[int, Field(gt=0)] | None = None


def assemble(
    make_core: Callable[..., nn.Module],
    network: Network,
    *,
    hidden_size: int,
    input_size: int,
    output_size: int,
    tokens: bool = False,
    sequence_level: bool = False,
    causal: bool = False,
) -> SequenceModel:
    """The model for a task around the core that ``make_core`` builds.

    Args:
        make_core: called with input_size, hidden_size, num_layers, bidirectional and dropout. One
            that has a parameter num_embeddings in place of input_size makes a core that reads the
            tokens themselves, and is given the size of the vocabulary.
        network: the rest of the model's shape.
        hidden_size: H.
        input_size: I, what the task says of itself, as the rest.
        output_size: O.
        tokens: whether the input is indices instead of features.
        sequence_level: whether there is one output for each sequence.
        causal: whether an output may depend on the past alone.

    Raises:
        ValueError: for a shape of model that the task does not allow; see :class:`SequenceModel`.
    """
    if causal and network.bidirectional:
        raise ValueError(
            "network.bidirectional must be false for this task: an answer may depend on the past "
            "alone, and a model that reads from both ends would see what comes"
        )
    width = hidden_size if network.embedding_size is None else network.embedding_size
    # that of the function: a partial with an argument too many has no signature
    builder = make_core.func if isinstance(make_core, functools.partial) else make_core
    reads_tokens = "num_embeddings" in inspect.signature(builder).parameters
    if reads_tokens and not tokens:
        raise ValueError("this model has a matrix for each token, and needs a task of tokens")
    features = width if tokens else input_size
    core = make_core(
        **({"num_embeddings": input_size} if reads_tokens else {"input_size": features}),
        hidden_size=hidden_size,
        num_layers=network.num_layers,
        bidirectional=network.bidirectional,
        dropout=network.dropout,
    )
    return SequenceModel(
        core,
        input_size=input_size,
        output_size=output_size,
        hidden_size=hidden_size,
        features=(2 if network.bidirectional else 1) * hidden_size,
        tokens=tokens,
        embedded=not reads_tokens,
        sequence_level=sequence_level,
        embedding_size=network.embedding_size,
        tie_weights=network.tie_weights,
        dropout=network.dropout,
        checkpoint_steps=network.checkpoint_steps,
    )
