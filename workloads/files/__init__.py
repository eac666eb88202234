"""What is read from and written to files: workloads, archives of arrays, small tables."""
