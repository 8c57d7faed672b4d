"""Scheduled work: a table of tasks, what runs them, and what they do.

None of them decides a count. May import everything up to `reading`; not `ingest` and `trust`, beside which it stands.
"""
