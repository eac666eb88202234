"""From an exported PyTorch graph to ops of the IR: one rule per aten operator.

Rank names are the contract with the sparsity patterns and the mapper:

| op | a | b | out |
|---|---|---|---|
| convolution | X[n, g*C+c, p*stride+r*dil, q*stride+s*dil] | W[g*K+k, c, r, s] | Y[n, g*K+k, p, q] |
| linear | X[m0, m1, .., c] | W[k, c] | Y[m0, m1, .., k] |
| matmul | A[b0, .., m, c] | B[b0, .., c, k] | Y[b0, .., m, k] |
"""
