"""The safetensors reader against the library, and against files that lie."""

from __future__ import annotations

import io
import json
import struct

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from challenge.submissions import weights
from challenge.submissions.weights import NotSafetensors

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8,
          torch.bool]  # fmt: skip


def canonical(content: bytes) -> bytes:
    return b"".join(weights.canonical(io.BytesIO(content), len(content)))


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(
        st.text("abc.é", min_size=1, max_size=6),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3)),
        max_size=6,
    )
)
def test_canonical_holds_the_same_tensors(described) -> None:
    tensors = {name: torch.ones(shape).to(dtype) for name, (dtype, shape) in described.items()}
    first = safetensors.torch.save(tensors, {"format": "pt"})
    second = safetensors.torch.save(dict(reversed(tensors.items())))
    assert canonical(first) == canonical(second) == canonical(canonical(first))
    loaded = safetensors.torch.load(canonical(first))
    assert loaded.keys() == tensors.keys()
    for name, value in loaded.items():
        assert value.dtype == tensors[name].dtype
        assert torch.equal(value, tensors[name])


def file_of(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(begin: int, end: int, dtype: str = "F32", shape: tuple[int, ...] = (1,)):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_canonical_puts_tensors_in_order() -> None:
    """Narrow before wide, and names backwards: by hand, for the library would order them."""
    parts = {"c": ("U8", b"\x01"), "b": ("F32", bytes(4)), "a": ("F32", b"\x02" * 4)}
    files = []
    for names in ("abc", "cba"):
        header, data = {"__metadata__": {"x": names}}, b""
        for name in names:
            dtype, content = parts[name]
            header[name] = tensor(len(data), len(data) + len(content), dtype)
            data += content
        files.append(file_of(header, data))
    assert canonical(files[0]) == canonical(files[1])
    assert canonical(files[0]).endswith(b"\x02" * 4 + bytes(4) + b"\x01")
    assert len(canonical(files[0])) % 8 == 1  # the header is padded, so every tensor is aligned


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is cut off"),
        (b"\xff" * 8, "has a header of"),
        (struct.pack("<Q", 50) + b"{}", "has a header of 50 bytes"),
        (file_of(b"{nonsense"), "not JSON"),
        (file_of(b"[" * 100_000), "not JSON"),
        (file_of([1]), "not a JSON object"),
        (file_of(b'{"a": {}, "a": {}}'), "given twice"),
        (file_of({"a": {}}), "describes `a` wrongly"),
        (file_of({"a": tensor(0, 4, shape=(-1,))}, bytes(4)), "describes `a` wrongly"),
        (file_of({"a": tensor(0, 4, shape=(1.0,))}, bytes(4)), "describes `a` wrongly"),
        (file_of({"a": tensor(0, 4, dtype="PICKLE")}, bytes(4)), "of type `PICKLE`"),
        (file_of({"a": tensor(0, 4, shape=(2,))}, bytes(4)), "its shape needs 8"),
        (file_of({"a": tensor(4, 8)}, bytes(8)), "a hole or an overlap before `a`"),
        (file_of({"a": tensor(0, 4), "b": tensor(0, 4)}, bytes(4)), "overlap before `b`"),
        (file_of({"a": tensor(0, 4)}, bytes(3)), "accounts for"),
        (file_of({"a": tensor(0, 4)}, bytes(5)), "accounts for"),
        (file_of({}, b"hidden"), "accounts for"),
    ],
)
def test_files_that_lie(content: bytes, said: str) -> None:
    with pytest.raises(NotSafetensors, match=said):
        weights.read_header(io.BytesIO(content), len(content))
