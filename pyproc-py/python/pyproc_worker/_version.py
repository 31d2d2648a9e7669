"""The version of this package and what it calls itself on the wire."""

__version__ = "0.2.0"

AGENT = f"pyproc-worker/{__version__}"
