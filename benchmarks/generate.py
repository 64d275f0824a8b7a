"""Let a trained language model write: ``python -m benchmarks.generate run=FOLDER prompt="my "``.

Every argument is ``name=value``: run, prompt, length, temperature, top_k, seed, trust; the text
streams to the terminal as it is drawn. A run may come from anybody: its file can make no other code
run than the models of this project, unless ``trust`` names it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError
from pydantic.dataclasses import dataclass
from torch import Tensor

from . import records
from .assembly import Interface, load_model
from .cli import CONFIG_ERROR, INTERRUPTED
from .data.cache import DataError
from .data.text import END, UNKNOWN, encode
from .models import SequenceModel
from .refusal import ConfigError, one_line
from .streams import stream


@dataclass(frozen=True, config={"extra": "forbid"})
class Request:
    """What to write.

    Args:
        run: folder of a finished run of ``benchmarks.language``.
        prompt: how the text begins; the model reads it first.
        length: tokens to draw, characters or words.
        temperature: divides the logits: below 1 the likely is made likelier, 0 takes the likeliest.
        top_k: draw from the k likeliest tokens only; all by default.
        seed: of the draws.
        trust: dotted names of your own classes that the file of the run may call, separated by
            commas.
    """

    run: Path
    prompt: str = ""
    length: PositiveInt = 400
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.8
    top_k: PositiveInt | None = None
    seed: NonNegativeInt = 0
    trust: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the text to the terminal; returns the exit code, 2 for what cannot be done."""
    try:
        torch.set_num_threads(1)  # single steps are far too small to share
        request = parse(sys.argv[1:] if arguments is None else arguments)
        model, interface = load_model(request.run / records.BEST, request.trust.split(","))
        pieces = write(model, interface, request)
        print(request.prompt, end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print()
    except ValidationError as error:
        return _refuse(one_line(error))
    except (ConfigError, DataError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print()
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the text has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def parse(arguments: Sequence[str]) -> Request:
    """The request of ``name=value`` arguments; a value is taken as it stands.

    Raises:
        ConfigError: for an argument that is no such pair, an unknown name, or no run.
        ValidationError: for a value out of its range.
    """
    names = list(Request.__dataclass_fields__)
    given = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or name not in names:
            raise ConfigError(f"arguments are name=value with a name of {names}, got {argument!r}")
        given[name] = value
    if "run" not in given:
        raise ConfigError("run=FOLDER is missing: the folder of a run of benchmarks.language")
    return Request(**given)  # type: ignore[arg-type]


def write(model: SequenceModel, interface: Interface, request: Request) -> Iterator[str]:
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


def write_sample(model: SequenceModel, interface: Interface) -> str:
    """What a model writes by itself."""
    return "".join(write(model, interface, Request(run=Path())))


@torch.inference_mode()
def _draw(
    model: SequenceModel, interface: Interface, request: Request, tokens: Tensor
) -> Iterator[str]:
    symbols, words = interface.symbols, interface.level == "word"
    forbidden = symbols.index(UNKNOWN) if UNKNOWN in symbols else None
    generator = stream(request.seed, "generation")
    spaced = not request.prompt or request.prompt[-1].isspace()
    state = None
    for _ in range(request.length):
        output, state = model(tokens.unsqueeze(1), state)
        logits = output[-1, 0].double()
        if not bool(logits.isfinite().all()):
            raise ConfigError("the model of this run answers with numbers that are not finite")
        if forbidden is not None:
            logits[forbidden] = -torch.inf
        tokens = choose(logits, request.temperature, request.top_k, generator)
        symbol = symbols[int(tokens)]
        if not words:
            yield symbol
        elif symbol == END:
            yield "\n"
            spaced = True
        else:
            yield symbol if spaced else f" {symbol}"
            spaced = False


def choose(
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


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return CONFIG_ERROR


if __name__ == "__main__":
    sys.exit(main())
