"""Speed, measured side by side with what a user would run instead:
`python -m benchmarks [NAME ...] [--json | --markdown] [--check]`.

A benchmark is a module here with a function `measure() -> list[Row]`; the first line of its docstring
says what it measures.
"""
