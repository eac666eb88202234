"""Plots of one result, one subject per file."""
