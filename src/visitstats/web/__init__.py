"""The edge: HTTP in, HTTP out. The only package that imports starlette and uvicorn."""
