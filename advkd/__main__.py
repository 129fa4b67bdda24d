"""`python -m advkd`, the same as the `advkd` command.

`advkd browse` is a server that stays for days: it goes its own way before the other commands bring in torch.
"""

import sys

from advkd.runtime import spare_loopback


def main() -> None:
    """Entry point."""
    spare_loopback()
    if sys.argv[1:2] == ["browse"]:
        from advkd.cli.browse import main as browse

        browse()
        return
    from advkd.cli.main import main as others

    others()


if __name__ == "__main__":
    main()
