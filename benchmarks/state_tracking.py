"""State tracking: ``python -m benchmarks.state_tracking [task.group=a5] ...``."""

from .cli.train import main

if __name__ == "__main__":
    main("state_tracking")
