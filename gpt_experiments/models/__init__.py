"""Trained models as a whole: found, evaluated, chosen, described, registered."""
