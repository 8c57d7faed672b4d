"""The way of a beacon through HTTP: connections, heads, bodies, senders, the decision, the answer.

Knows the write side through `ingest` and `reading`. Nothing below `web` may import it; `routes` use its answers.
"""
