"""A network of one node as an ONNX file, written by hand: protobuf's wire format, fields as in onnx.proto3."""

from pathlib import Path

_FLOAT = 1


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _value(name: str, dims: tuple[int | str, ...]) -> bytes:
    # TensorShapeProto.Dimension: a number (1) or a name (2).
    each = [_bytes(1, _number(1, dim) if isinstance(dim, int) else _bytes(2, dim)) for dim in dims]
    tensor = _number(1, _FLOAT) + _bytes(2, b"".join(each))
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def save_mean_network(file: Path, channels: int, size: int) -> Path:
    """Saves a network that maps `[B, channels, size, size]` to means over positions, `[B, channels]`."""
    axes = b"".join(_number(8, axis) for axis in (2, 3))
    attributes = [
        _bytes(1, "axes") + axes + _number(20, 7),
        _bytes(1, "keepdims") + _number(3, 0) + _number(20, 2),
    ]
    node = _bytes(1, "images") + _bytes(2, "features") + _bytes(4, "ReduceMean")
    node += b"".join(_bytes(5, part) for part in attributes)
    graph = _bytes(1, node) + _bytes(2, "mean")
    graph += _bytes(11, _value("images", ("batch", channels, size, size)))
    graph += _bytes(12, _value("features", ("batch", channels)))
    file.write_bytes(_number(1, 8) + _bytes(7, graph) + _bytes(8, _number(2, 13)))
    return file
