"""One stored measurement: y with all that its operator needs, as a small `.npz` file.

Free of torch, so that the judge's supervisor can read measurements and hand them over.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.data.layout import FRESH

FORMAT = 1
BOUNDARIES = ("circular", "valid", "reflect")


@dataclass(frozen=True, eq=False)
class Measurement:
    """A measurement and the operator that made it."""

    identity: str
    """Id of the image, unique in its split."""
    y: NDArray[np.float32]
    """(C, H', W'), the image's range [0, 1] plus noise."""
    kernel: NDArray[np.float32]
    """(k, k), k odd, sums to 1; a true convolution."""
    sigma: float
    """Standard deviation of the noise, in units of the image range."""
    boundary: str
    """`circular`, `valid` or `reflect`."""
    shape: tuple[int, int, int]
    """(C, H, W) of the image; a valid blur makes H' = H - k + 1."""


def border(boundary: str, side: int) -> int:
    """Pixels at every side of an image that a blur with a kernel of `side` pixels sees in part.

    Half the kernel where the boundary is `valid`, whose measurement is smaller by as much at
    every side; 0 for the boundary rules that continue the image.
    """
    return side // 2 if boundary == "valid" else 0


def to_bytes(measurement: Measurement) -> bytes:
    """Serialise to npz; the same measurement gives the same bytes."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        format=np.int64(FORMAT),
        identity=np.array(measurement.identity),
        y=measurement.y,
        kernel=measurement.kernel,
        sigma=np.float64(measurement.sigma),
        boundary=np.array(measurement.boundary),
        shape=np.array(measurement.shape, dtype=np.int64),
    )
    return buffer.getvalue()


def from_bytes(content: bytes, place: object = "measurement") -> Measurement:
    """Read what `to_bytes` wrote.

    Raises:
        UserError: at `place`, if the content is damaged or of another format.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as fields:
            if int(fields["format"]) != FORMAT:
                raise _damaged(place, f"has format `{int(fields['format'])}`, not `{FORMAT}`")
            shape = tuple(int(side) for side in fields["shape"])
            measurement = Measurement(
                identity=str(fields["identity"]),
                y=fields["y"],
                kernel=fields["kernel"],
                sigma=float(fields["sigma"]),
                boundary=str(fields["boundary"]),
                shape=shape,  # type: ignore[arg-type]
            )
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        ValueError,
        TypeError,
        OSError,
        EOFError,
    ) as e:
        raise _damaged(place, f"is no measurement file ({type(e).__name__})") from e
    _check(measurement, place)
    return measurement


def read(path: Path) -> Measurement:
    """Read and check a measurement; raises `UserError` if it is missing or damaged."""
    return from_bytes(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """A stored measurement as it is, not checked; raises `UserError` if it is missing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError.of(path, "there is no such measurement", FRESH) from None


def _check(m: Measurement, place: object) -> None:
    for name, array, dimensions in (("y", m.y, 3), ("kernel", m.kernel, 2)):
        if array.dtype != np.float32 or array.ndim != dimensions:
            raise _damaged(place, f"`{name}` is {array.dtype} with shape {array.shape}")
        if not np.isfinite(array).all():
            raise _damaged(place, f"`{name}` has values that are not finite")
    side = m.kernel.shape[0]
    if m.kernel.shape[1] != side or side % 2 == 0:
        raise _damaged(place, f"the kernel has shape {m.kernel.shape}, not square and odd")
    if m.boundary not in BOUNDARIES:
        raise _damaged(place, f"unknown boundary `{m.boundary}`")
    if not (np.isfinite(m.sigma) and m.sigma > 0):
        raise _damaged(place, f"sigma is `{m.sigma}`")
    lost = 2 * border(m.boundary, side)
    if len(m.shape) != 3 or m.y.shape != (m.shape[0], m.shape[1] - lost, m.shape[2] - lost):
        raise _damaged(place, f"y of shape {m.y.shape} does not belong to an image {m.shape}")


def _damaged(place: object, cause: str) -> UserError:
    return UserError.of(place, cause, FRESH)
