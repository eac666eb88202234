"""What a GPU has: the card, its power, the software that launches kernels, kernels for sparse matrices."""
