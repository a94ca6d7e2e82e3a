"""Measurements against other libraries; `python -m benchmarks --help` says how to run them."""
