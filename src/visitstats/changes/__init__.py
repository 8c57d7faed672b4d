"""What people change: merges and baselines, each a record of the journal that is applied once and can be looked up.

May import the journal, the store and the sites. The worker's ingest or a `Scribe` writes the records.
"""
