"""What the speed benchmark times: one file per kind of candidate."""
