"""A comparison written as Markdown, CSV, LaTeX or one HTML page."""
