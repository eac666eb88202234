"""What a step does to weights: update by an optimizer, masks that move, selections made at every step."""
