"""Old numbers are read from the files of other counters and become counts of a site.

Every file, packed or not, becomes *sheets* (`opening.py`, `delimited.py`, `books.py`, `sql.py`, `databases.py`,
`jsons.py`, `redisdumps.py`). One reader for each source (`readers/`) turns sheets into numbers, which the *draft*
(`draft.py`) checks, matches to keys and keeps on disk. Nothing is written to the store before the whole file was read.
"""
