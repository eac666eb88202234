"""A matrix product: what it asks, how it may be mapped, what a mapping moves and takes, and which is the best."""
