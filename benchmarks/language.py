"""Language modelling: ``python -m benchmarks.language [data.path=FILE] [model=lstm] ...``."""

from .cli.train import main

if __name__ == "__main__":
    main("language")
