"""`python -m benchmarks.emoji_snapshot OUT FOLDER`: a teacher of an unfinished training.

That is one of `advkd teacher train emoji --out OUT`. Its averaged weights so far, as a folder that every command takes
for a teacher; it goes on undisturbed.
"""

import argparse
from pathlib import Path

from advkd.teachers.emoji.recipe import PART, save_teacher
from advkd.teachers.training import averaged_so_far


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    save_teacher(averaged_so_far(chosen.out, PART), chosen.folder)
    print(chosen.folder)


if __name__ == "__main__":
    main()
