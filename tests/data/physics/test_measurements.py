"""Stored measurements: exact, deterministic, and checked when read."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest

from challenge.configs.errors import UserError
from challenge.data.physics import measurements
from challenge.data.physics.blur import BOUNDARIES
from challenge.data.physics.measurements import Measurement, of_blur


def make(boundary: str = "valid", **changes: object) -> Measurement:
    rng = np.random.default_rng(0)
    lost = 4 if boundary == "valid" else 0
    fields = {
        "identity": "0001",
        "y": rng.standard_normal((3, 20 - lost, 24 - lost)).astype(np.float32),
        "kernel": np.full((5, 5), 1 / 25, dtype=np.float32),
        "sigma": 0.1 + 0.2,
        "boundary": boundary,
        "shape": (3, 20, 24),
    }
    return of_blur(**{**fields, **changes})


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_what_is_written_is_read(tmp_path, boundary):
    m = make(boundary)
    (tmp_path / "a.npz").write_bytes(measurements.to_bytes(m))
    back = measurements.read(tmp_path / "a.npz")
    assert np.array_equal(back.y, m.y)
    assert np.array_equal(back.operator["kernel"], m.operator["kernel"])
    assert back.operator["boundary"] == boundary
    assert back.noise == {"kind": "gaussian", "sigma": 0.1 + 0.2}
    assert (back.identity, back.shape) == ("0001", (3, 20, 24))


def test_equal_measurements_have_equal_bytes():
    assert measurements.to_bytes(make()) == measurements.to_bytes(make())


WRONG = {
    "y is float64": {"y": np.zeros((3, 16, 20))},
    "shape": {"shape": (3, 20, 25)},
    "finite": {"y": np.full((3, 16, 20), np.nan, dtype=np.float32)},
    "infinite kernel": {"kernel": np.full((5, 5), np.inf, dtype=np.float32)},
    "even kernel": {"kernel": np.ones((4, 4), dtype=np.float32)},
    "long kernel": {"kernel": np.ones((3, 5), dtype=np.float32)},
    "boundary": {"boundary": "replicate"},
    "sigma below 0": {"sigma": -0.1},
    "sigma nan": {"sigma": float("nan")},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_measurement_is_refused(changes):
    content = measurements.to_bytes(make(**changes))
    with pytest.raises(UserError, match="get a fresh copy of the challenge"):
        measurements.from_bytes(content, "x.npz")


@pytest.mark.parametrize("cut", [0, 10, 500, -1])
def test_a_damaged_file_is_refused(tmp_path, cut):
    (tmp_path / "a.npz").write_bytes(measurements.to_bytes(make())[:cut])
    with pytest.raises(UserError, match=r"a\.npz: is no measurement file"):
        measurements.read(tmp_path / "a.npz")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match="there is no such measurement"):
        measurements.read(tmp_path / "a.npz")


def test_a_flipped_byte_is_noticed():
    content = bytearray(measurements.to_bytes(make()))
    content[len(content) // 2] ^= 255  # within y; zip's CRC tells
    with pytest.raises(UserError, match="is no measurement file"):
        measurements.from_bytes(bytes(content))


def test_another_format_is_refused():
    fields = dict(np.load(io.BytesIO(measurements.to_bytes(make()))))
    buffer = io.BytesIO()
    np.savez(buffer, **{**fields, "format": np.int64(3)})
    with pytest.raises(UserError, match="has format `3`, not `2`"):
        measurements.from_bytes(buffer.getvalue())


def test_nothing_is_unpickled():
    buffer = io.BytesIO()
    evil = np.empty(1, dtype=object)
    evil[0] = print
    np.savez(buffer, allow_pickle=True, format=np.int64(1), y=evil, shape=np.ones(3))
    with pytest.raises(UserError, match="is no measurement file"):
        measurements.from_bytes(buffer.getvalue())


def test_the_judges_side_of_data_is_free_of_torch():
    code = (
        "import sys\n"
        "import challenge.data.challenges.challenge, challenge.data.physics.measurements\n"
        "import challenge.data.challenges.seal\n"
        "import challenge.data.noise, challenge.data.images.codec, challenge.data.physics.kernels\n"
        "import challenge.data.layout, challenge.data.atomic, challenge.data.images.sources\n"
        "print([name for name in ('torch', 'deepinv', 'skimage') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
