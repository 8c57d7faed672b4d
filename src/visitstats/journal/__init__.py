"""The journal: a local write-ahead log of what was acknowledged, one slot of it for each worker process.

Knows files, and nothing of the store or of HTTP. Whatever writes or reads hits on disk may import it.
"""
