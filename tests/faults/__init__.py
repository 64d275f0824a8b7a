"""What becomes of a run when things go wrong: ``pytest tests/faults --kills 200 ...``."""
