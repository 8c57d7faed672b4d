"""Sites as a worker sees them: their records, the salts of their days, the rules that administrators wrote.

Knows the store's records and what is kept on disk. Whatever decides about a hit or shows a number may import it.
"""
