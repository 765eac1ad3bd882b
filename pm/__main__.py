"""`python -m pm`."""

from pm.cli import main

main()
