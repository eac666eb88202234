"""Products on several depths of memories: nested mappings, their cost, their search."""
