"""What a layout of your own must pass: the contract and the laws of a store, to run from any package.

In your tests, with `pip install advkd pytest pytest-timeout hypothesis`:

    from storage.testing import ReadingLaws, StoreContract, WritingLaws, make_spec

    @pytest.fixture
    def root(tmp_path):
        return str(tmp_path / "stores")

    @pytest.fixture
    def spec():
        return make_spec(layout="mine")

    class TestMine(StoreContract, ReadingLaws, WritingLaws):
        pass

`root` is an empty root of stores, a path or a URI, and `spec` one of `make_spec` in your layout, which is registered as
an entry point (`storage.tables`). Nothing but tests imports this room: it needs pytest and hypothesis.
"""

import pytest

pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in ("contract", "damage", "oracles", "laws_of_reading", "laws_of_writing"))
)

from storage.testing.contract import StoreContract  # noqa: E402
from storage.testing.laws_of_reading import ReadingLaws  # noqa: E402
from storage.testing.laws_of_writing import WritingLaws  # noqa: E402
from storage.testing.trajectories import fill, make_spec, shard_states, states_of  # noqa: E402

__all__ = ["ReadingLaws", "StoreContract", "WritingLaws", "fill", "make_spec", "shard_states", "states_of"]
