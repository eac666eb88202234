"""Which designs are asked for: grids, random ones, samplers, and one run of them."""
