"""From a model's name to a result, its baseline and what its zeros bought."""
