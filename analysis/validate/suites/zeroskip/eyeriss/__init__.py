"""Eyeriss: the first chip as measured, one PE of the second, the whole second chip."""
