"""Products on GPUs as measured: left-out shapes and cards, layers, sparse kernels, a file of the user."""
