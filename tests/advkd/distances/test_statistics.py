from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from advkd.distances import FeatureSet, frechet_distance, read_statistics, write_statistics
from storage.errors import StoreNotFoundError
from storage.objects import join
from tests.advkd.distances.parts import gathered, normal


def test_statistics_of_pytorch_fid_are_read(tmp_path: Path) -> None:
    x = normal(40, 5, 0).double().numpy()
    # `pytorch_fid.fid_score.save_fid_stats`.
    np.savez_compressed(tmp_path / "stats.npz", mu=np.mean(x, axis=0), sigma=np.cov(x, rowvar=False))
    moments = read_statistics(str(tmp_path / "stats.npz"))
    assert moments.count == 0
    published = FeatureSet(name="published", moments=moments, features=None)
    assert frechet_distance(published, gathered(normal(40, 5, 0))) == pytest.approx(0.0, abs=1e-12)


def test_statistics_of_adm_are_read_beside_what_else_its_file_holds(tmp_path: Path) -> None:
    others = {"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "mu_s": np.zeros(7), "sigma_s": np.eye(7)}
    np.savez(tmp_path / "stats.npz", mu=np.ones(3, np.float32), sigma=np.eye(3, dtype=np.float32), **others)
    moments = read_statistics(str(tmp_path / "stats.npz"))
    assert moments.dims == 3
    assert moments.mean.dtype == moments.covariance.dtype == torch.float64


def test_pytorch_fid_reads_what_is_written(tmp_path: Path) -> None:
    moments = gathered(normal(40, 5, 0)).moments
    write_statistics(str(tmp_path / "stats.npz"), moments)
    # `pytorch_fid.fid_score.compute_statistics_of_path`.
    with np.load(tmp_path / "stats.npz") as f:
        m, s = f["mu"][:], f["sigma"][:]
    assert np.array_equal(m, moments.mean.numpy())
    assert np.array_equal(s, moments.covariance.numpy())


def test_what_was_written_comes_back_with_its_count_also_from_s3(tmp_path: Path, s3_root: str) -> None:
    moments = gathered(normal(40, 5, 0)).moments
    for root in (str(tmp_path), s3_root):
        write_statistics(join(root, "stats.npz"), moments)
        read = read_statistics(join(root, "stats.npz"))
        assert read.count == 40
        assert torch.equal(read.mean, moments.mean)
        assert torch.equal(read.covariance, moments.covariance)


GOOD = {"mu": np.zeros(3), "sigma": np.eye(3)}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"sigma": np.eye(3)}, "got no mu among sigma in"),
        ({"arr_0": np.zeros(3)}, "got no mu and no sigma among arr_0 in"),
        (GOOD | {"mu": np.zeros(4)}, r"got mu \[4\] and sigma \[3, 3\]"),
        (GOOD | {"mu": np.zeros((3, 1))}, r"got mu \[3, 1\]"),
        (GOOD | {"mu": np.array([0.0, np.nan, 0.0])}, "got NaN or infinity"),
        (GOOD | {"sigma": np.full((3, 3), np.inf)}, "got NaN or infinity"),
        (GOOD | {"mu": np.array([None, 0.0, 0.0])}, "Object arrays cannot be loaded"),
        (GOOD | {"mu": np.array(["a", "b", "c"])}, "got <U1 in mu"),
        (GOOD | {"sigma": np.triu(np.ones((3, 3)))}, "not symmetric"),
        (GOOD | {"sigma": -np.eye(3)}, "negative on its diagonal"),
    ],
)
def test_statistics_that_are_none_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "stats.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_statistics(str(tmp_path / "stats.npz"))


def test_files_that_are_no_statistics_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "stats.npz"
    np.savez(file, **GOOD)
    whole = file.read_bytes()
    for data in (b"", b"some words", whole[:-30], whole[: len(whole) // 2]):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=r"statistics are an \.npz file with mu .* give the statistics"):
            read_statistics(str(file))
    with file.open("wb") as opened:
        np.save(opened, np.zeros(3))
    with pytest.raises(ValueError, match="got a single array in"):
        read_statistics(str(file))
    with pytest.raises(StoreNotFoundError, match=r"no .*none\.npz; check the URI"):
        read_statistics(str(tmp_path / "none.npz"))
