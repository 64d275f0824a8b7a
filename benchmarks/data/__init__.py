"""Texts and images the tasks read, bundled with Python or fetched once into a cache."""
