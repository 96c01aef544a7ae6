"""`python -m cocu` is `cocu`."""

from cocu.cli import main

main()
