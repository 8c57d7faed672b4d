"""Changes that people make: merges, corrections, facts, imports, closed periods. Each is a record of the journal that
is applied once, and is on the site's list of changes.

May import the journal, the store and the sites. The worker's ingest or a `Scribe` writes the records.
"""
