"""Every benchmark can be started: what it imports is there."""

import importlib
import pkgutil

import pytest

import benchmarks

# One compares with a package of `benchmarks/requirements.txt`, and `__main__` runs what it imports.
NAMES = {module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")}
NAMES = {name for name in NAMES if name != "benchmarks.cache_litdata" and not name.endswith("__main__")}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_benchmark_imports_what_is_there(name: str) -> None:
    importlib.import_module(name)
