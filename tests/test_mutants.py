"""The rows of `make mutants` fit the tree as it is: every fault can still be put in its place, and has its tests."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.mutant_rows import MUTANTS, Mutant
from benchmarks.mutants import MutantError, mutated

CHECKOUT = Path(__file__).parents[1]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_row_fits_the_tree(mutant: Mutant) -> None:
    changed = mutated(mutant, CHECKOUT)
    assert changed != (CHECKOUT / mutant.file).read_text(encoding="utf-8")
    assert mutant.tests
    for test in mutant.tests:
        file, *names = test.partition("[")[0].split("::")
        # Classes of tests may inherit theirs.
        places = [CHECKOUT / file, *(CHECKOUT / "storage" / "testing").glob("*.py")]
        text = "\n".join(place.read_text(encoding="utf-8") for place in places)
        for name in names:
            assert f"def {name}(" in text or f"class {name}" in text, test


def test_no_two_rows_are_one() -> None:
    assert max(Counter(mutant.name for mutant in MUTANTS).values()) == 1
    assert max(Counter((mutant.file, mutant.old, mutant.new) for mutant in MUTANTS).values()) == 1


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "gone.py"}, "a mutant's file must exist, got gone.py"),
        ({"old": "three"}, r"must be in code\.py exactly once, got 0 of 'three'"),
        ({"old": "one"}, r"must be in code\.py exactly once, got 2 of 'one'"),
        ({"new": "two +"}, "a mutant must be Python, got invalid syntax"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    (tmp_path / "code.py").write_text("one = 1\ntwo = one + 1\nthis = two\n")
    mutant = Mutant("two is none", "code.py", "this = two", "this = 2", ("test.py",))
    assert mutated(mutant, tmp_path).endswith("this = 2\n")
    with pytest.raises(MutantError, match=message):
        mutated(replace(mutant, **changes), tmp_path)
