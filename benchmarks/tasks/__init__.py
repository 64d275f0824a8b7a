"""The tasks, one file each; :mod:`benchmarks.tasks.task` says what a task is."""
