"""`python -m benchmarks`: what a durable hit costs, as ratios to a bare endpoint within one run.

docs/performance.md says what is measured and how to read it.
"""
