"""A space of twelve designs."""

SPACE = """
name: small
workloads: [{model: net.npz}]
accelerator: sat-vcu1525
parameters:
  compute.rows: [16, 32]
  compute.cols: [16, 32]
  technology.clock_hz: {from: 1.0e+8, to: 3.0e+8, step: 1.0e+8}
objectives: [latency_s, energy_j]
"""
