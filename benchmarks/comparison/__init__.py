"""Runs set side by side: groups of seeds, one table of them, and what the table is written as."""
