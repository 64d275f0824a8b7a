"""What a run leaves behind: its files, its records, their summary in numbers and words."""
