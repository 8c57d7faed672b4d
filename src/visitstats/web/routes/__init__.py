"""Every route beside the data path: public ones, those of editors and administrators, and what describes them.

Each asks the worker's parts and writes nothing by itself. Only `web.app` imports it.
"""
