"""From the store's runs to tables and figures: select runs, average them, lay them out, render them.

    selection.py      which runs: --where
    statistics.py     runs to cells: mean, sample standard deviation, number of seeds
    significance.py   paired t-test, Holm's correction, power; difference and equivalence of means
    tables.py         what a table is, in no particular format, and the registry of its kinds
    formatting.py     the texts that tables share: titles, numbers, cells, the best two, notes
    paper_tables.py   the tables of the paper: what is a row, a column and a block of them
    compare.py        losses against each other, seed by seed
    ranks.py          methods ranked over settings: Friedman's test, and a test of each pair
    audit.py          the same runs under other rules of selection, and what each leaks
    published.py      published numbers (CSV files in published/), and our runs beside them
    figures.py        what a figure is, in no particular format, and the registry of its kinds
    figure_kinds.py   the figures: those of the paper; learning curves, heat map, cost and ranks of any runs
    plotting.py       a figure as PDF, PNG or SVG
    formats.py        a table as text, Markdown, CSV or JSON; latex.py; html.py with page.html

The runs are the DataFrame of `Store.results`: one row per Config, with its fields as columns, and
`id`, `status` and what the run measured.  Accuracies are fractions there and percent in all that is
made here.  No module here imports pandas at module level.
"""
