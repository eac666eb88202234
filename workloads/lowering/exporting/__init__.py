"""From a model to an exported graph, and what the graph itself does not show."""
