"""Networks on GPUs as published: times, training iterations, power, memory."""
