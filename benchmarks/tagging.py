"""Copy tagging: ``python -m benchmarks.tagging [network.bidirectional=false] ...``."""

from .cli.train import main

if __name__ == "__main__":
    main("tagging")
