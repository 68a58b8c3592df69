"""Faces with hands over them, so that a network learns that a hand is no face: `python -m hand_generator --help`."""

STYLE_NAMES = ("natural", "plain")
"""The keys of `paste.STYLES`, default first, readable without importing numpy."""

RECOLOUR_CHANCE = 0.5
"""Natural style: share of the hands whose colour is moved toward the face's."""
