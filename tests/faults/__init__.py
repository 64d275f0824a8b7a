"""What becomes of a run when things go wrong, measured: ``python -m tests.faults``."""
