"""Files, signals, seeds, threads and memory of the machine that runs."""
