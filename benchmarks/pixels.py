"""Pixel-by-pixel digits: ``python -m benchmarks.pixels [data.name=mnist] [model=lstm] ...``."""

from .cli.train import main

if __name__ == "__main__":
    main("pixels")
