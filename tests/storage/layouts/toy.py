"""Somebody else's layout: one module and an entry point, installed into a folder that is no part of this project."""

from pathlib import Path

MODULE = '''"""Each shard is one file: a mark, then the stored arrays one after the other."""

from storage.layouts import Extent

_MARK = b"toy shard"


class ToyLayout:
    def templates(self, spec):
        return ("toys/{shard:06d}.bin",)

    def object_bytes(self, spec):
        return (len(_MARK) + spec.shard_samples * spec.trajectory_bytes,)

    def encode(self, spec, shard, stored):
        yield _MARK + b"".join(stored[t].tobytes() for t in spec.stored_timesteps)

    def extents(self, spec, timesteps, rows):
        start = len(_MARK)
        for t in spec.stored_timesteps:
            size = spec.encoding(t).state_bytes
            if t in timesteps:
                yield Extent(0, t, rows, start + rows.start * size, size)
            start += spec.shard_samples * size

    def metadata(self, spec, num_samples):
        return {"toys/README": f"{num_samples} samples".encode()}


toy = ToyLayout()
'''


def install(folder: Path) -> Path:
    """Put the package into a folder, as pip would; the folder, to be put on `sys.path`."""
    information = folder / "toy_layout-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / "toy_layout.py").write_text(MODULE)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-layout\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[advkd.layouts]\ntoy = toy_layout:toy\n")
    return folder
