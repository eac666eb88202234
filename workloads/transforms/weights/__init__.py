"""Weights that become products or sums of others, or of which a part alone is trained."""
