"""What library users hand over: numpy's numbers, paths, lists."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from advkd.trajectories import PrecomputeSpec, precompute
from storage import list_stores, open_store, verify
from storage.records import make_plain


@dataclass(frozen=True, kw_only=True)
class Settings:
    place: str = ""
    count: int = 1
    share: float = 0.5
    least: int | None = None
    sure: bool = False
    times: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        make_plain(self)


def test_what_stands_for_a_plain_value_becomes_it() -> None:
    given = Settings(
        place=Path("a/b"),  # type: ignore[arg-type]
        count=np.int64(3),  # type: ignore[arg-type]
        share=np.float32(0.25),  # type: ignore[arg-type]
        least=np.uint8(2),  # type: ignore[arg-type]
        sure=np.bool_(True),  # type: ignore[arg-type]
        times=np.array([9, 0]),  # type: ignore[arg-type]
    )
    assert given == Settings(place="a/b", count=3, share=0.25, least=2, sure=True, times=(9, 0))
    assert [type(value) for value in vars(given).values()] == [str, int, float, int, bool, tuple]
    assert type(given.times[0]) is int
    assert Settings(share=1).share == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"count": "8"}, r"Settings.count must be a whole number, got '8' \(str\)"),
        ({"count": 8.0}, r"Settings.count must be a whole number, got 8.0 \(float\)"),
        ({"count": True}, r"Settings.count must be a whole number, got True \(bool\)"),
        ({"share": "half"}, "Settings.share must be a number, got 'half'"),
        ({"least": "2"}, "Settings.least must be a whole number or None, got '2'"),
        ({"place": None}, "Settings.place must be text, got None"),
        ({"sure": 1}, "Settings.sure must be true or false, got 1"),
    ],
)
def test_what_does_not_is_refused_by_its_name(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Settings(**given)  # type: ignore[arg-type]


def test_a_store_is_made_and_read_with_them(tmp_path: Path) -> None:
    sizes = {"samples": np.int64(8), "block_samples": np.int32(8), "shard_samples": np.int64(8)}
    spec = PrecomputeSpec(teacher="mixture", store=tmp_path / "stores", timesteps=np.array([999, 0]), **sizes)  # type: ignore[arg-type]
    made = precompute(spec)
    place = Path(made.uri)
    assert place.parent.parent == tmp_path / "stores"
    assert [entry.uri for entry in list_stores(tmp_path)] == [made.uri]
    assert verify(place) == []
    assert open_store(place).read_samples([np.int64(3)])[0].shape[0] == 1
