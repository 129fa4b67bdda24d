import gc
import hashlib
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from advkd.images import RULE, ImageSet, ImageSetError, open_images
from advkd.images.pictures import picture_image
from advkd.teachers.digits import digit_images
from storage.errors import StoreNotFoundError
from storage.objects import read_bytes, write_bytes
from tests.advkd.images.parts import PLACES, SHAPE, encoded, pictures, pixels, placed, tarred, zipped


def everything(images: ImageSet) -> torch.Tensor:
    return torch.cat(list(images.batches(3)))


@pytest.mark.parametrize("on", ["disk", "s3"])
@pytest.mark.parametrize("place", PLACES)
def test_pictures_are_the_same_wherever_they_lie(place: str, on: str, tmp_path: Path, s3_root: str) -> None:
    files = pictures()
    images = open_images(placed({"disk": str(tmp_path), "s3": s3_root}[on], place, files), SHAPE)
    assert images.count == 5
    assert images.rule == RULE
    assert (images.skipped, images.noted) == ({}, {})
    expected = torch.stack([picture_image(files[name], SHAPE) for name in sorted(files)])
    assert torch.equal(everything(images), expected)
    assert torch.equal(images.image(3), expected[3])


def test_one_content_has_one_hash_whatever_the_place(tmp_path: Path) -> None:
    hashes = {open_images(placed(str(tmp_path), place, pictures()), SHAPE).sha256 for place in ("folder", "zip", "tar")}
    assert len(hashes) == 1
    # As somebody else would compute it.
    expected = hashlib.sha256()
    for name, data in sorted(pictures().items()):
        expected.update(f"{name}\0{hashlib.sha256(data).hexdigest()}\n".encode())
    assert hashes == {expected.hexdigest()}


def test_another_content_has_another_hash(tmp_path: Path) -> None:
    files = pictures()
    sets = [
        files,
        files | {"a/001.png": encoded(pixels(99))},
        {name: data for name, data in files.items() if name != "a/001.png"},
        {name.replace("a/001", "a/999"): data for name, data in files.items()},
        files | {"a/001.png": files["a/003.png"], "a/003.png": files["a/001.png"]},
    ]
    uris = [placed(str(tmp_path / str(number)), "folder", one) for number, one in enumerate(sets)]
    assert len({open_images(uri, SHAPE).sha256 for uri in uris}) == len(sets)


def test_pictures_are_looked_at_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = placed(str(tmp_path), "folder", pictures())
    seen: list[tuple[int, int]] = []
    first = open_images(uri, SHAPE, progress=lambda *done: seen.append(done))
    assert seen == [(number, 5) for number in range(1, 6)]
    assert open_images(uri, (1, 8, 8), progress=lambda *done: seen.append(done)).sha256 == first.sha256
    assert len(seen) == 5
    changed = Path(uri) / "a" / "001.png"
    changed.write_bytes(encoded(pixels(77)))
    os.utime(changed, (1, 1))
    assert open_images(uri, SHAPE, progress=lambda *done: seen.append(done)).sha256 != first.sha256
    assert len(seen) == 10


def test_what_was_found_out_may_be_lost_or_damaged(tmp_path: Path, cache: Path) -> None:
    uri = placed(str(tmp_path), "folder", pictures())
    first = open_images(uri, SHAPE)
    (kept,) = (cache / "images").iterdir()
    for damage in (b"", b"{}", b"[1]", b"\xff", kept.read_bytes()[:-9]):
        kept.write_bytes(damage)
        assert open_images(uri, SHAPE).sha256 == first.sha256


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file where a folder should be")
    assert open_images(placed(str(tmp_path), "folder", pictures()), SHAPE).count == 5
    assert "pictures will be looked at again, because" in caplog.text


BAD = {
    "a/half.jpg": encoded(pixels(0, 64, 64), "JPEG")[:1500],
    "b/half.png": encoded(pixels(0, 64, 64))[:900],
    "b/nothing.png": b"",
    "c/words.webp": b"these are words",
}
NAMED = (
    r"got 4 of 9 that cannot \(1 corrupt, 1 empty, 2 truncated\) in .*, the first: a/half\.jpg \(truncated\); remove"
)


@pytest.mark.parametrize("place", ["folder", "zip", "tar"])
def test_bad_pictures_are_refused_by_name_and_number_or_skipped(place: str, tmp_path: Path) -> None:
    good = pictures()
    uri = placed(str(tmp_path), place, good | BAD)
    with pytest.raises(ImageSetError, match=NAMED):
        open_images(uri, SHAPE)
    # Known by now, and refused all the same.
    with pytest.raises(ImageSetError, match=NAMED):
        open_images(uri, SHAPE)
    images = open_images(uri, SHAPE, skip_bad=True)
    assert images.skipped == {"truncated": 2, "empty": 1, "corrupt": 1}
    assert images.remarks == "4 pictures that cannot be read were left out (1 corrupt, 1 empty, 2 truncated)."
    expected = torch.stack([picture_image(good[name], SHAPE) for name in sorted(good)])
    assert torch.equal(everything(images), expected)
    assert torch.equal(images.image(4), expected[4])


def test_a_set_of_bad_pictures_alone_cannot_be_skipped(tmp_path: Path) -> None:
    with pytest.raises(ImageSetError, match="got 4 of 4 that cannot"):
        open_images(placed(str(tmp_path), "folder", BAD), SHAPE, skip_bad=True)


@pytest.mark.parametrize("place", ["folder", "zip", "tar"])
def test_what_is_listed_as_huge_is_not_read(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = placed(str(tmp_path), place, {"small.png": encoded(pixels(0)), "large.png": encoded(pixels(0, 90, 90))})
    for module in ("inspection", "archives"):
        monkeypatch.setattr(f"advkd.images.{module}.MOST_BYTES", 2000)
    read: list[int] = []
    from advkd.images.sources import FolderSource

    whole = FolderSource.read
    monkeypatch.setattr(FolderSource, "read", lambda self, number: read.append(number) or whole(self, number))
    images = open_images(uri, SHAPE, skip_bad=True)
    assert images.skipped == {"huge": 1}
    assert read == ([1] if place == "folder" else [])


def test_several_frames_and_grey_ones_among_coloured_are_counted(tmp_path: Path) -> None:
    from PIL import Image

    frames = [Image.fromarray(pixels(seed)) for seed in range(2)]
    files = pictures() | {
        "moves.png": encoded(frames[0], save_all=True, append_images=frames[1:]),
        "grey.png": encoded(pixels(0, channels=1)),
    }
    uri = placed(str(tmp_path), "folder", files)
    images = open_images(uri, SHAPE)
    assert images.noted == {"animated": 1, "grey": 1}
    assert images.remarks == f"Of the {images.count} real pictures: 1 of several frames, 1 grey among coloured ones."
    grey = images.image(5)
    assert torch.equal(grey[0], grey[1])
    # A teacher of grey images has no use for the second remark.
    assert open_images(uri, (1, 16, 16)).noted == {"animated": 1}


def test_what_resizing_does_is_counted(tmp_path: Path) -> None:
    files = {f"{h}x{w}.png": encoded(pixels(0, h, w)) for h, w in ((16, 16), (32, 32), (32, 40), (10, 10), (40, 10))}
    assert open_images(placed(str(tmp_path), "folder", files), SHAPE).noted == {"cropped": 2, "enlarged": 2}


def test_grey_pictures_are_no_reference_for_colours(tmp_path: Path) -> None:
    files = {
        "a.png": encoded(pixels(0, channels=1)),
        "b.png": encoded(np.repeat(pixels(1, channels=1)[..., None], 3, axis=2)),
    }
    uri = placed(str(tmp_path), "folder", files)
    with pytest.raises(ImageSetError, match=r"coloured pictures, got 2 that are all grey in .*; give coloured ones"):
        open_images(uri, SHAPE)
    assert open_images(uri, (1, 16, 16)).count == 2


def test_hidden_files_and_what_is_no_picture_are_not_looked_at(tmp_path: Path) -> None:
    files = pictures(2) | {
        ".hidden.png": b"x",
        ".folder/a.png": b"x",
        "__MACOSX/a/._001.png": b"x",
        "a/._001.png": b"x",
        "labels.csv": b"x",
        "a/Thumbs.db": b"x",
    }
    for place in ("folder", "zip", "tar"):
        images = open_images(placed(str(tmp_path), place, files), SHAPE)
        assert images.count == 2
        assert images.sha256 == open_images(placed(str(tmp_path / "plain"), place, pictures(2)), SHAPE).sha256


@pytest.mark.parametrize("place", ["folder", "zip", "tar"])
def test_a_set_holds_pictures(place: str, tmp_path: Path) -> None:
    uri = placed(str(tmp_path), place, {"labels.csv": b"x"})
    with pytest.raises(ImageSetError, match=rf"holds pictures \(\.png, .*\), got none in {uri}; give another one"):
        open_images(uri, SHAPE)


def test_a_place_that_does_not_exist_holds_none(tmp_path: Path, s3_root: str) -> None:
    for root in (str(tmp_path), s3_root):
        with pytest.raises(ImageSetError, match="got none in"):
            open_images(f"{root}/nothing", SHAPE)
    with pytest.raises(StoreNotFoundError):
        open_images("s3://no-such-bucket-of-pictures/set", SHAPE)


def test_a_set_is_of_one_kind(tmp_path: Path) -> None:
    files = pictures(3) | {"more.zip": zipped(pictures(2)), "yet/more.tar": tarred(pictures(2))}
    uri = placed(str(tmp_path), "folder", files)
    with pytest.raises(ImageSetError, match=r"of one kind, got 3 pictures and 1 \.zip and 1 \.tar in .*; name the"):
        open_images(uri, SHAPE)
    assert open_images(f"{uri}/more.zip", SHAPE).count == 2


def test_files_that_are_no_sets_are_refused(tmp_path: Path) -> None:
    whole = {"zip": zipped(pictures()), "tar": tarred(pictures())}
    files = {
        "one.png": (encoded(pixels(0)), "a folder, or a file that ends in .zip, .tar, .parquet, got"),
        "half.zip": (whole["zip"][: len(whole["zip"]) // 2], "a zip of pictures must be a whole zip"),
        "empty.zip": (b"", "a zip of pictures must be a whole zip"),
        "half.tar": (whole["tar"][:3000], "a whole tar without compression, got unexpected end of data"),
        "packed.tar": (tarred(pictures(), "w:gz"), "a whole tar without compression"),
    }
    for name, (data, message) in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageSetError, match=message):
            open_images(str(tmp_path / name), SHAPE)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(pictures(1)))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    (tmp_path / "set.zip").write_bytes(data)
    with pytest.raises(ImageSetError, match=r"must not be encrypted, got b/000\.png in .*; unpack it"):
        open_images(str(tmp_path / "set.zip"), SHAPE)


def test_a_picture_whose_bytes_changed_in_the_zip_is_corrupt(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.png": encoded(pixels(0)), "b.png": encoded(pixels(1))}))
    with zipfile.ZipFile(placed(str(tmp_path), "zip", {"a.png": encoded(pixels(0))})) as archive:
        start = archive.infolist()[0].header_offset
    data[start + 200] ^= 255
    (tmp_path / "set.zip").write_bytes(data)
    assert open_images(str(tmp_path / "set.zip"), SHAPE, skip_bad=True).skipped == {"corrupt": 1}


def test_teachers_of_other_channels_have_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(ImageSetError, match="1 or 3 channels, got a teacher with 4"):
        open_images(placed(str(tmp_path), "folder", pictures()), (4, 16, 16))


@pytest.mark.parametrize("place", ["folder", "tar"])
def test_pictures_that_change_while_they_are_used_are_noticed(place: str, tmp_path: Path) -> None:
    uri = placed(str(tmp_path), place, pictures())
    images = open_images(uri, SHAPE)
    target = f"{uri}/a/001.png" if place == "folder" else uri
    write_bytes(target, read_bytes(target)[:600])
    with pytest.raises(ImageSetError, match=r"must not change while they are used, but a/001\.png did: truncated"):
        list(images.batches(2))


def test_batches_are_whole_but_the_last(tmp_path: Path) -> None:
    images = open_images(placed(str(tmp_path), "folder", pictures(7)), SHAPE)
    assert [len(batch) for batch in images.batches(3)] == [3, 3, 1]
    assert [len(batch) for batch in images.batches(7)] == [7]
    with pytest.raises(ValueError, match="at least one image, got a size of 0"):
        next(images.batches(0))
    for number in (-1, 7):
        with pytest.raises(IndexError, match=f"images 0 to 6, got {number}"):
            images.image(number)


def test_a_loop_that_ends_early_leaves_nothing_open(tmp_path: Path) -> None:
    for place in ("folder", "zip", "tar"):
        images = open_images(placed(str(tmp_path), place, pictures(40)), SHAPE)
        batches = images.batches(2)
        next(batches)
        del batches, images
        # An open file would be a warning, which is an error.
        gc.collect()


def test_the_digits_are_those_of_scikit_learn() -> None:
    images = open_images("digits", (1, 16, 16))
    assert images.name == "real digits"
    assert torch.equal(everything(images), digit_images())
    assert torch.equal(images.image(9), digit_images()[9])
    assert images.sha256 == hashlib.sha256(digit_images().numpy().tobytes()).hexdigest()
    with pytest.raises(ImageSetError, match=r"have the shape \[1, 16, 16\], got a teacher of \[3, 16, 16\]"):
        open_images("digits", (3, 16, 16))


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImageSetError, match=r"need pyarrow, which is not installed; pip install 'advkd\[parquet\]'"):
        open_images(str(tmp_path / "set.parquet"), SHAPE)
