"""Cycles and times of arrays of multipliers, as published or as peers and RTL give them."""
