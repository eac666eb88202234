"""The figures of an exploration, one file each."""
