"""`python -m advkd`, the same as the `advkd` command."""

from advkd.cli.main import main

if __name__ == "__main__":
    main()
