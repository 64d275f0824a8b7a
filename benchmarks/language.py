"""Language modelling: ``python -m benchmarks.language [data.path=FILE] [model=lstm] ...``."""

from .run import main

if __name__ == "__main__":
    main("language")
