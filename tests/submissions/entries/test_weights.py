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

from challenge.submissions.entries import weights
from challenge.submissions.entries.weights import NotSafetensors

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


FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def counted(content: bytes) -> dict[str, int]:
    file = io.BytesIO(content)
    tensors, _ = weights.read_header(file, len(content))
    return weights.not_finite(file, tensors)


@pytest.mark.parametrize("kind", FLOATS)
def test_not_finite_is_counted_as_torch_counts(kind: str) -> None:
    """Every bit pattern of 16 bits, and random ones of more: the same values as torch's."""
    generator = torch.Generator().manual_seed(0)
    bits = torch.arange(2**16).to(torch.int32).to(torch.int16)
    if weights.ITEMSIZE[kind] > 2:
        shape = (2**14, weights.ITEMSIZE[kind] // 2)
        bits = torch.randint(-(2**15), 2**15, shape, generator=generator, dtype=torch.int16)
        bits[::3, -1] |= 0x7FF0  # every third is NaN or infinite
        bits[::9, :] = 0
        bits[::9, -1] = 0x7FF0 if kind == "F64" else 0x7F80
    tensors = {"b": bits.flatten().view(FLOATS[kind]), "a": torch.ones(3), "c": torch.zeros(0)}
    expected = int((~tensors["b"].isfinite()).sum())
    assert 100 < expected < tensors["b"].numel()
    assert counted(safetensors.torch.save(tensors)) == {"b": expected}


def test_not_finite_looks_at_every_piece_of_every_tensor(monkeypatch) -> None:
    monkeypatch.setattr(weights, "CHUNK", 16)
    for position in range(21):
        values = torch.zeros(21)
        values[position] = float("-inf")
        whole = {"a": torch.ones(5), "b": values, "c": torch.full((3,), 2**31 - 1)}
        assert counted(safetensors.torch.save(whole)) == {"b": 1}
        content = safetensors.torch.save(whole)
        file = io.BytesIO(content)
        tensors, _ = weights.read_header(file, len(content))
        short = io.BytesIO(content[file.tell() : -1])
        with pytest.raises(NotSafetensors, match="cut off"):
            weights.not_finite(short, tensors)


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
        (file_of({"a": tensor(0, 4, shape={})}, bytes(4)), "describes `a` wrongly"),
        (file_of({"a": tensor(0, 4) | {"more": 1}}, bytes(4)), "describes `a` wrongly"),
        (file_of({"a": tensor(0, 10**4000)}, bytes(4)), "describes `a` wrongly"),
        (file_of({"a": tensor(0, 0, shape=(2**59, 2**59, 0))}), "its shape needs 1,152,921"),
        (file_of({"\ud800": tensor(0, 4)}, bytes(4)), "describes `\ud800` wrongly"),
        (file_of(json.dumps({"a": tensor(0, 4)}).encode("utf-16"), bytes(4)), "not JSON"),
        (file_of(b'{"a": {"x": NaN}}'), "NaN is no JSON"),
        (file_of(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[-0,1]}}', b"x"), "describes"),
        (file_of({"__metadata__": {"a": 1}}), "metadata that is not text"),
        (file_of({"__metadata__": []}), "metadata that is not text"),
        (file_of({"__metadata__": {"a": "\ud800"}}), "metadata that is not text"),
        (file_of(b"[" * 2_000_001), "has a header of 2,000,001 bytes"),
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


def test_what_is_read_the_library_reads_too() -> None:
    """And a file that ends while it is copied does not hang."""
    content = file_of({"__metadata__": {"a": "\U0001f600"}, "é": tensor(0, 4)}, bytes(4))
    assert safetensors.torch.load(content).keys() == {"é"}
    assert canonical(content) == canonical(canonical(content))
    short = io.BytesIO(content[:-1])
    with pytest.raises(NotSafetensors, match="is cut off"):
        list(weights.canonical(short, len(content)))
