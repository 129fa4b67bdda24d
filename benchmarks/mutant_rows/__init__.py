"""The mutants of `make mutants`: one wrong line each, and the tests that must not let it pass.

A row is data: a repository path, the exact old text (once in that file), the new text, and the narrowest tests that
must fail. Whoever changes a line that a row names changes the row; `tests/test_mutants.py` says which.
"""

from benchmarks.mutant_rows.features import FEATURES
from benchmarks.mutant_rows.judgement import JUDGEMENT
from benchmarks.mutant_rows.method import METHOD
from benchmarks.mutant_rows.mutant import Mutant
from benchmarks.mutant_rows.runs import RUNS
from benchmarks.mutant_rows.store import STORE
from benchmarks.mutant_rows.teachers import TEACHERS

MUTANTS = (*METHOD, *RUNS, *JUDGEMENT, *FEATURES, *STORE, *TEACHERS)

__all__ = ["MUTANTS", "Mutant"]
