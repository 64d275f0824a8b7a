"""The training loop, its settings and optimizer, in one process or several."""
