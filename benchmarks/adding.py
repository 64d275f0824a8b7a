"""The adding problem: ``python -m benchmarks.adding [model=lstm] [task.length=750] ...``."""

from .cli.train import main

if __name__ == "__main__":
    main("adding")
