"""Networks with fewer or more channels, heads, hidden dimensions and layers, which stay dense."""
