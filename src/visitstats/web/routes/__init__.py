"""All routes beside the data path: public ones, those of editors and administrators, and the description of the API.

Each file has its rows (`web/table.py`) and their handlers. `web.app` puts them together, and `web.gate` in front.
"""
