"""Coupled groups of a network: found on its graph, chosen by plans, cut out of its weights."""
