"""Time of a product's tiles, one after another: kinds of step, walks that count them, tiles with their own zeros."""
