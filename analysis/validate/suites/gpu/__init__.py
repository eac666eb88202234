"""Times and energies of GPUs as measured: products, sparse kernels, whole networks."""
