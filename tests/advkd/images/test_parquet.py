"""Pictures in the Parquet files of data sets, as the hub has them."""

import io
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import torch
from pyarrow import parquet

from advkd.images import ImageSetError, open_images
from advkd.images.pictures import picture_image
from storage.objects import join, write_bytes
from tests.advkd.images.parts import SHAPE, encoded, pictures, pixels

DATA = [encoded(pixels(seed)) for seed in range(150)]


def written(columns: dict[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), buffer, **options)
    return buffer.getvalue()


STRUCTS = [{"bytes": data, "path": f"{number}.png"} for number, data in enumerate(DATA)]


@pytest.mark.parametrize("on", ["disk", "s3"])
@pytest.mark.parametrize(
    "columns",
    [{"image": STRUCTS, "label": list(range(150))}, {"label": list(range(150)), "img": DATA}],
    ids=["struct", "binary"],
)
@pytest.mark.parametrize("rows", [7, 1000])
def test_rows_are_pictures(on: str, columns: dict[str, Any], rows: int, tmp_path: Path, s3_root: str) -> None:
    uri = join({"disk": str(tmp_path), "s3": s3_root}[on], "train.parquet")
    write_bytes(uri, written(columns, row_group_size=rows))
    images = open_images(uri, SHAPE)
    expected = torch.stack([picture_image(data, SHAPE) for data in DATA])
    assert torch.equal(torch.cat(list(images.batches(64))), expected)
    for number in (149, 0, 70, 71, 69):
        assert torch.equal(images.image(number), expected[number])


def test_several_files_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (1, 0):
        part = DATA[75 * number : 75 * number + 75]
        (tmp_path / f"train-{number:05d}-of-00002.parquet").write_bytes(written({"image": part}))
    (tmp_path / "README.md").write_text("a data set")
    images = open_images(str(tmp_path), SHAPE)
    assert torch.equal(torch.cat(list(images.batches(64))), torch.stack([picture_image(one, SHAPE) for one in DATA]))


def test_rows_without_a_picture_are_named(tmp_path: Path) -> None:
    rows = [{"bytes": DATA[0], "path": None}, {"bytes": None, "path": "/home/somebody/b.png"}, None]
    (tmp_path / "set.parquet").write_bytes(written({"image": rows}))
    with pytest.raises(ImageSetError, match=r"got 2 of 3 that cannot \(2 empty\) .*, the first: 000000001 \(empty\)"):
        open_images(str(tmp_path / "set.parquet"), SHAPE)
    assert open_images(str(tmp_path / "set.parquet"), SHAPE, skip_bad=True).count == 1


def test_files_without_pictures_are_refused(tmp_path: Path) -> None:
    whole = written({"image": DATA})
    files = {
        "labels": (written({"label": [1, 2]}), "has a column image or .* got label: int64 in"),
        "text": (written({"image": ["a.png"]}), "got image: string in"),
        "half": (whole[: len(whole) // 2], "a Parquet file of pictures must be whole"),
        "empty": (b"", "a Parquet file of pictures must be whole"),
    }
    for name, (data, message) in files.items():
        (tmp_path / f"{name}.parquet").write_bytes(data)
        with pytest.raises(ImageSetError, match=message):
            open_images(str(tmp_path / f"{name}.parquet"), SHAPE)


def test_a_folder_of_pictures_beside_parquet_is_of_two_kinds(tmp_path: Path) -> None:
    (tmp_path / "set.parquet").write_bytes(written({"image": DATA}))
    (tmp_path / "a.png").write_bytes(next(iter(pictures().values())))
    with pytest.raises(ImageSetError, match=r"got 1 pictures and 1 \.parquet in"):
        open_images(str(tmp_path), SHAPE)
