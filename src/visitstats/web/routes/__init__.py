"""Every route beside the data path: public ones, those of editors and administrators, and what describes them.

Each file has its rows (`web/table.py`) and their handlers. `web.app` puts them together, and `web.gate` in front.
"""
