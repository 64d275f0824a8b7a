"""A run's configuration: composed, checked, named by its fingerprint; and the errors it raises."""
