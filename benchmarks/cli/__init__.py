"""From a command line to a run: Hydra, sweeps, and errors in one line."""
