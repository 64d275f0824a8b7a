"""Text drawn from a trained language model, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from benchmarks.config.errors import ConfigError
from benchmarks.data.text import END, UNKNOWN, encode
from benchmarks.models import SequenceModel
from benchmarks.system.seeding import named_generator

from .build import TaskSpec


@dataclass(frozen=True, config={"extra": "forbid"})
class SampleRequest:
    """What to write.

    Args:
        run: folder of a finished run of ``benchmarks.language``.
        prompt: how the text begins; the model reads it first.
        length: tokens to draw, characters or words.
        temperature: divides the logits: below 1 the likely is made likelier, 0 takes the likeliest.
        top_k: draw from the k likeliest tokens only; all by default.
        seed: of the draws.
    """

    run: Path
    prompt: str = ""
    length: PositiveInt = 400
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.8
    top_k: PositiveInt | None = None
    seed: NonNegativeInt = 0


def generate(model: SequenceModel, interface: TaskSpec, request: SampleRequest) -> Iterator[str]:
    """The text after the prompt, piece by piece.

    The state after the prompt is carried on; each drawn token is fed back. Without a prompt the
    model starts as after the end of a line. ``<unk>`` is never drawn.

    Raises:
        ConfigError: for a model that does not read text, or whose weights are not finite.
        DataError: if the model does not know a character of the prompt.
    """
    if not interface.symbols:
        raise ConfigError("run must be one of benchmarks.language: this model reads no text")
    words = interface.level == "word"
    symbols = interface.symbols
    opening = request.prompt or "\n"
    if not request.prompt and not words and "\n" not in symbols:
        opening = symbols[0]
    tokens = encode(opening, symbols, interface.level)
    if not len(tokens):  # a prompt of spaces has no word
        tokens = encode("\n", symbols, interface.level)
    return _draw(model, interface, request, tokens)


def generate_sample(model: SequenceModel, interface: TaskSpec) -> str:
    """What a model writes by itself."""
    return "".join(generate(model, interface, SampleRequest(run=Path())))


@torch.inference_mode()
def _draw(
    model: SequenceModel, interface: TaskSpec, request: SampleRequest, tokens: Tensor
) -> Iterator[str]:
    symbols, words = interface.symbols, interface.level == "word"
    forbidden = symbols.index(UNKNOWN) if UNKNOWN in symbols else None
    generator = named_generator(request.seed, "generation")
    spaced = not request.prompt or request.prompt[-1].isspace()
    state = None
    for _ in range(request.length):
        output, state = model(tokens.unsqueeze(1), state)
        logits = output[-1, 0].double()
        if not bool(logits.isfinite().all()):
            raise ConfigError("the model of this run answers with numbers that are not finite")
        if forbidden is not None:
            logits[forbidden] = -torch.inf
        tokens = draw_token(logits, request.temperature, request.top_k, generator)
        symbol = symbols[int(tokens)]
        if not words:
            yield symbol
        elif symbol == END:
            yield "\n"
            spaced = True
        else:
            yield symbol if spaced else f" {symbol}"
            spaced = False


def draw_token(
    logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator
) -> Tensor:
    """A token drawn from ``softmax(logits / temperature)`` over the ``top_k`` likeliest."""
    if temperature == 0:
        return logits.argmax(keepdim=True)
    if top_k is not None and top_k < len(logits):
        least = logits.topk(top_k).values[-1]
        logits = logits.masked_fill(logits < least, -torch.inf)
    return torch.multinomial(
        torch.softmax((logits - logits.max()) / temperature, 0), 1, generator=generator
    )
