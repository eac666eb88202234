"""Pictures of an exploration: figures for papers (PNG and SVG) and one interactive page.

`analysis.reports.pictures.command.plot_table` draws all of them from a `Table`; `designs.py` says which designs are
drawn and which of them are the front, the knee and the chosen ones; `figures/` holds one picture per file.
"""
