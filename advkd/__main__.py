"""`python -m advkd`, the same as the `advkd` command."""

from advkd.cli import main

main()
