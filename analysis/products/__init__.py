"""Tables of matrix products and convolutions: what their columns mean, and what each line costs."""
