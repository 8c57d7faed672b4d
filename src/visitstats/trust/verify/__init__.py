"""`visitstats verify`: whether all numbers agree with each other, with the journal and with what every key must hold.

One file for each kind of check; `verifier.py` runs them. Only commands import it.
"""
