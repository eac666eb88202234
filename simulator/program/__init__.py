"""A workload as a controller runs it: rewrites, what is alive at once, and the schedule."""
