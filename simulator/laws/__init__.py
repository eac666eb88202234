"""How the innermost array computes: tiled arrays, passes over rows, lanes that find nonzeros."""
