"""Suites of comparisons: arrays of multipliers, engines that skip zeros, GPUs, and what whole chips take and draw."""
