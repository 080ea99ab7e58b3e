"""Measures how fast training is, against the plain way that a notebook would train, in one interleaved run."""
