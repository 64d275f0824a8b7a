"""Looks into a model: gradients through time, spectra, confusion matrices, and their figures."""
