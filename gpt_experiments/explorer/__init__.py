"""A page to explore: every head's attention on one text, as one HTML file that needs nothing else."""

from gpt_experiments.explorer.page import explorer_page

__all__ = ["explorer_page"]
