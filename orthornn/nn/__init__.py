"""Recurrent modules whose recurrent weights are orthogonal and stay so."""
