"""Constants of the kernel-time model: their files, their fit, the measured shapes near a product."""
