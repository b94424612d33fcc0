"""Speed, measured side by side: `python -m benchmarks [NAME ...] [--json]`.

A benchmark is a module here with a function `measure() -> list[Row]`; the first line of its docstring
says what it measures.
"""
