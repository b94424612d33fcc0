"""From the store's runs to tables and figures: select runs, average them, lay out, render.

    wording.py      lists in sentences
    selection.py    which runs: --where
    statistics.py   runs to cells: mean, sample standard deviation, number of seeds
    tables.py       what a table is, free of any format, and the registry of its kinds
    cells.py        what layouts share: titles, texts of cells, the best two, notes
    layout.py       the kinds of table: what is a row, a column and a block of them
    lines.py        the other layout: a line for each thing, under one heading
    paired.py       the paired t-test, Holm's correction, how many pairs would do
    comparison.py   losses against each other, seed by seed; comparison_lines.py lays it out
    audits.py       the same runs under other rules of selection, and what each leaks
    published/      numbers of others, as CSV, and what must be known to read them
    agreement.py    whether two means agree, from summary statistics
    against.py      our runs beside published numbers
    formats.py      both as text, for a terminal, Markdown, LaTeX, HTML, CSV or JSON
    terminal.py, markdown.py, latex.py, render_lines.py, html.py, page.html    what these are made of
    curves.py       runs and their epochs to lines: mean and sample standard deviation at each epoch
    figures.py      the kinds of figure: which lines in which panels, free of any format
    drawing.py      a figure as PDF, PNG or SVG

The runs are the DataFrame of `Store.results`: one row per Config, with its fields as columns, and
`id`, `status` and what the run measured.  Accuracies are fractions in it and percent in all that is
made here.  Nothing here imports pandas itself: who has a DataFrame has paid for that already.
"""
