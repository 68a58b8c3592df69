"""Faces with hands over them, so that a network learns that a hand is no face: `python -m hand_generator --help`."""

STYLE_NAMES = ("natural", "plain")
"""The keys of `paste.STYLES`, default first, readable without importing numpy."""
