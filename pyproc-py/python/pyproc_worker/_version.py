"""The version of this package, and its name in the hello."""

__version__ = "0.2.0"

AGENT = f"pyproc-worker/{__version__}"
