"""Design-space exploration: a space in YAML, sampled, priced in parallel, kept in a store that survives."""
