"""The way of a batch: gathered, journalled, committed; and what happens to it after a loss (`replay`).

Knows the journal and the store, and nothing of HTTP. The worker builds it, and `web` puts hits into it.
"""
