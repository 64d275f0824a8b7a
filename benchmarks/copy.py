"""Copy memory: ``python -m benchmarks.copy [model=lstm] [task.delay=1000] [seed=3] ...``."""

from .cli.train import main

if __name__ == "__main__":
    main("copy")
