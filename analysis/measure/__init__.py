"""The harness behind `zerocast measure`: GEMMs and networks timed on the machine at hand.

It runs from a plain checkout with torch, numpy and pandas and nothing else:
`python -m zerocast.analysis.measure --help`.
"""
