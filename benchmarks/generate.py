"""Let a trained language model write: ``python -m benchmarks.generate run=FOLDER prompt="my "``.

Every argument is ``name=value``: run, prompt, length, temperature, top_k, seed; the text streams to
the terminal as it is drawn. A run may come from anybody: its file names a model of this project and
can make no other code run. :func:`benchmarks.runs.saved_model.load_model` says how a class of your
own is registered.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import torch
from pydantic import ValidationError

from .config.errors import CONFIG_ERROR, INTERRUPTED, ConfigError, format_error
from .data.download import DataError
from .records.files import BEST
from .runs.sampling import SampleRequest, generate
from .runs.saved_model import load_model


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the text to the terminal; returns the exit code, 2 for what cannot be done."""
    try:
        torch.set_num_threads(1)  # single steps are far too small to share
        request = parse(sys.argv[1:] if arguments is None else arguments)
        model, interface = load_model(request.run / BEST)
        pieces = generate(model, interface, request)
        print(request.prompt, end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print()
    except ValidationError as error:
        return _refuse(format_error(error))
    except (ConfigError, DataError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print()
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the text has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def parse(arguments: Sequence[str]) -> SampleRequest:
    """The request of ``name=value`` arguments; a value is taken as it stands.

    Raises:
        ConfigError: for an argument that is no such pair, an unknown name, or no run.
        ValidationError: for a value out of its range.
    """
    names = list(SampleRequest.__dataclass_fields__)
    given = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name == "trust":
            raise ConfigError(
                "trust is no argument any more: register a class of your own in "
                "benchmarks.models.MODELS, under its dotted name, and call benchmarks.generate.main"
            )
        if not equals or name not in names:
            raise ConfigError(f"arguments are name=value with a name of {names}, got {argument!r}")
        given[name] = value
    if "run" not in given:
        raise ConfigError("run=FOLDER is missing: the folder of a run of benchmarks.language")
    return SampleRequest(**given)  # type: ignore[arg-type]


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return CONFIG_ERROR


if __name__ == "__main__":
    sys.exit(main())
