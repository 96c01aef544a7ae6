"""The command line: `cocu …` and `python -m cocu …`."""

from cocu.cli.application import main

__all__ = ["main"]
