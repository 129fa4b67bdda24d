from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from advkd.distances import collected, frechet_distance, spread
from advkd.images import ImageSetError, extracted, open_images, real_features
from storage.objects import list_prefix
from tests.advkd.images.parts import SHAPE, encoded, pictures, pixels, placed


def moments_of(images: Tensor) -> Tensor:
    return torch.cat([images.mean((2, 3)), images.std((2, 3))], dim=1)


@dataclass(frozen=True)
class Stub:
    """Six features of an image; counts how many images it saw."""

    name: str = "stub"
    sha256: str = "1" * 64
    dims: int = 6
    compute: Callable[[Tensor], Tensor] = moments_of
    seen: list[int] = field(default_factory=list)

    def accepts(self, shape: tuple[int, int, int]) -> bool:
        return shape[0] == 3

    def __call__(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        return self.compute(images)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return placed(str(tmp_path), "folder", pictures(70))


def test_features_are_those_of_all_images(uri: str, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    features = real_features(uri, Stub(), SHAPE, str(tmp_path / "root"), lambda *one: done.append(one))
    expected = moments_of(torch.cat(list(open_images(uri, SHAPE).batches(7))))
    assert features.name == "real set"
    assert features.count == 70
    assert features.features is not None
    torch.testing.assert_close(features.features, expected)
    assert frechet_distance(features, collected("all", expected)) == pytest.approx(0.0, abs=1e-9)
    assert done == [(64, 70), (70, 70)]


@pytest.mark.parametrize("on", ["disk", "s3"])
def test_features_are_kept_and_come_back_bit_for_bit(on: str, uri: str, tmp_path: Path, s3_root: str) -> None:
    root = {"disk": str(tmp_path / "root"), "s3": s3_root}[on]
    stub = Stub()
    first = real_features(uri, stub, SHAPE, root)
    again = real_features(uri, stub, SHAPE, root)
    assert sum(stub.seen) == 70
    assert len(list_prefix(f"{root}/real")) == 1
    assert first.features is not None
    assert again.features is not None
    assert torch.equal(again.features, first.features)
    assert torch.equal(again.moments.covariance, first.moments.covariance)
    assert (again.count, again.name) == (first.count, first.name)


def test_features_of_something_else_are_never_taken(uri: str, tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    real_features(uri, Stub(), SHAPE, root)
    others = [
        (uri, Stub(name="other"), SHAPE),
        (uri, Stub(sha256="2" * 64), SHAPE),
        (uri, Stub(), (3, 8, 8)),
        (placed(str(tmp_path / "fewer"), "folder", pictures(69)), Stub(), SHAPE),
        (placed(str(tmp_path / "bad"), "folder", pictures(70) | {"b/000.png": b""}), Stub(), SHAPE),
    ]
    for where, stub, shape in others:
        real_features(where, stub, shape, root, skip_bad=True)
        assert sum(stub.seen) >= 69
    assert len(list_prefix(f"{root}/real")) == 1 + len(others)


def test_one_content_is_computed_once_wherever_it_lies(uri: str, tmp_path: Path) -> None:
    root, stub = str(tmp_path / "root"), Stub()
    real_features(uri, stub, SHAPE, root)
    real_features(placed(str(tmp_path), "zip", pictures(70)), stub, SHAPE, root)
    assert sum(stub.seen) == 70


def test_what_is_kept_may_be_damaged(uri: str, tmp_path: Path) -> None:
    root, stub = str(tmp_path / "root"), Stub()
    first = real_features(uri, stub, SHAPE, root)
    (kept,) = (tmp_path / "root" / "real").iterdir()
    whole = kept.read_bytes()
    for damage in (b"", whole[:-40], whole[:500] + b"\x00\xff" * 40 + whole[580:]):
        kept.write_bytes(damage)
        assert frechet_distance(real_features(uri, stub, SHAPE, root), first) == 0.0
    assert sum(stub.seen) == 4 * 70


def test_kept_features_are_spread_over_a_set_that_is_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advkd.distances.feature_set.KEPT", 10)
    images = torch.arange(35.0).reshape(35, 1, 1, 1).expand(35, 3, 2, 2) / 35
    stub = replace(Stub(), dims=3, compute=lambda images: images.mean((2, 3)))
    features = extracted("sorted", images.split(4), 35, stub)
    assert features.count == 35
    assert features.features is not None
    assert (
        (features.features[:, 0] * 35).round().tolist() == spread(35).tolist() == [0, 3, 7, 10, 14, 17, 21, 24, 28, 31]
    )
    assert float(features.moments.mean[0]) == pytest.approx(17.0 / 35)


def test_a_set_that_ends_early_is_noticed() -> None:
    with pytest.raises(ValueError, match="set must have the expected 9 images, got 8; read the set again"):
        extracted("set", torch.rand(8, 3, 4, 4).split(4), 9, Stub())


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (torch.arange(12).reshape(4, 3, 1, 1).to(torch.uint8), "torch.uint8 from 0 to 11"),
        (torch.arange(12.0).reshape(4, 3, 1, 1), "torch.float32 from 0 to 11"),
        (torch.full((4, 3, 1, 1), torch.nan), "torch.float32 from nan to nan"),
    ],
)
def test_images_of_another_range_are_refused(images: Tensor, got: str) -> None:
    with pytest.raises(ValueError, match=rf"floats in \[-1, 1\], got {got} in set; scale 8-bit values"):
        extracted("set", [images], 4, Stub())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_name_their_image(value: float, uri: str, tmp_path: Path) -> None:
    def broken(images: Tensor) -> Tensor:
        features = moments_of(images)
        features[-1, 2] = value
        return features

    with pytest.raises(ValueError, match="NaN or infinity for image 63"):
        real_features(uri, Stub(compute=broken), SHAPE, str(tmp_path / "root"))
    assert list_prefix(str(tmp_path / "root")) == []


def test_an_extractor_takes_the_images_or_none_is_computed(tmp_path: Path) -> None:
    uri = placed(str(tmp_path), "folder", {f"{n}.png": encoded(pixels(n, channels=1)) for n in range(3)})
    stub = Stub()
    with pytest.raises(ImageSetError, match=r"extractor stub must take images .* got \[1, 16, 16\]; choose another"):
        real_features(uri, stub, (1, 16, 16), str(tmp_path / "root"))
    assert stub.seen == []


def test_statistics_give_moments_alone(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 6))
    np.savez(tmp_path / "stats.npz", mu=x.mean(0), sigma=np.cov(x, rowvar=False))
    stub = Stub()
    features = real_features(str(tmp_path / "stats.npz"), stub, SHAPE, str(tmp_path / "root"))
    assert (features.name, features.features, features.count, stub.seen) == ("real stats.npz", None, 0, [])
    np.testing.assert_array_equal(features.moments.mean.numpy(), x.mean(0))
    with pytest.raises(ValueError, match=r"got 6 dimensions in .* and 2048 of stub; choose the extractor"):
        real_features(str(tmp_path / "stats.npz"), Stub(dims=2048), SHAPE, str(tmp_path / "root"))


def test_one_picture_is_no_set(tmp_path: Path) -> None:
    uri = placed(str(tmp_path), "folder", pictures(1))
    with pytest.raises(ValueError, match="at least two samples, got 1 in real set"):
        real_features(uri, Stub(), SHAPE, str(tmp_path / "root"))
