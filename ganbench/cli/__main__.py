"""`python -m ganbench.cli` is `ganbench`."""

from ganbench.cli import main

main()
