"""One stored measurement: y with all that its operator needs, as a small `.npz` file.

    format 2: y  shape  identity  operator  operator.NAME ...  noise  noise.NAME ...

`operator` and `noise` are the kinds; the names are the family's and the noise's. Format 1 knew
blurs with Gaussian noise only, and is still read. Free of torch, so that the judge's supervisor
can read measurements and hand them over.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.data import reading
from challenge.data.layout import FRESH
from challenge.data.physics import noise_models
from challenge.data.physics.families import FAMILIES
from challenge.data.physics.family import Shape

FORMAT = 2
FRAME = 0.5
"""Grey of the line around what is drawn of an operator."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """A measurement and the operator that made it."""

    identity: str
    """Id of the image, unique in its split."""
    y: NDArray[np.float32]
    """(C, H', W'), the range of A x plus noise."""
    shape: Shape
    """(C, H, W) of the image."""
    operator: Mapping[str, Any]
    """`kind` of the family, and its parameters of this image."""
    noise: Mapping[str, Any]
    """`kind`, and its parameters of this image: `sigma`, `gain`."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The operator's parameters without its kind."""
        return {name: value for name, value in self.operator.items() if name != "kind"}

    @property
    def picture(self) -> NDArray[np.float32]:
        """The measurement as a picture (C, H, W), in place of the image where it can be."""
        family = FAMILIES[self.operator["kind"]]
        return family.picture(self.y, self.parameters, self.shape)

    @property
    def seen_as(self) -> str:
        """What `picture` is, in a word."""
        return FAMILIES[self.operator["kind"]].seen_as

    @property
    def portrait(self) -> tuple[NDArray[np.float32], str] | None:
        """What there is to see of the operator, a picture (H, W) in [0, 1], and its caption.

        In a grey frame: a mask may be white to its edge, and so is the page.
        """
        found = FAMILIES[self.operator["kind"]].portrait(self.parameters)
        return None if found is None else (np.pad(found[0], 1, constant_values=FRAME), found[1])

    @property
    def level(self) -> str:
        """The noise in words, such as `sigma 0.03`."""
        named = noise_models.NAMES[self.noise["kind"]]
        return ", ".join(f"{name} {self.noise[name]:.3g}" for name in named)


def of_blur(
    identity: str,
    y: NDArray[np.float32],
    kernel: NDArray[np.float32],
    sigma: float,
    boundary: str,
    shape: Shape,
) -> Measurement:
    """A measurement of a blur with Gaussian noise.

    Args:
        identity: id of the image.
        y: shape (C, H', W').
        kernel: shape (k, k), k odd.
        sigma: standard deviation of the noise.
        boundary: `circular`, `valid` or `reflect`.
        shape: (C, H, W) of the image.
    """
    operator = {"kind": "blur", "kernel": kernel, "boundary": boundary}
    return Measurement(identity, y, shape, operator, {"kind": "gaussian", "sigma": sigma})


def to_bytes(measurement: Measurement) -> bytes:
    """Serialise to npz; the same measurement gives the same bytes."""
    buffer = io.BytesIO()
    fields: dict[str, Any] = {
        "format": np.int64(FORMAT),
        "identity": np.array(measurement.identity),
        "y": measurement.y,
        "shape": np.array(measurement.shape, dtype=np.int64),
    }
    for section in ("operator", "noise"):
        values = getattr(measurement, section)
        fields[section] = np.array(values["kind"])
        fields |= {
            f"{section}.{name}": np.asarray(values[name]) for name in values if name != "kind"
        }
    np.savez(buffer, **fields)
    return buffer.getvalue()


def from_bytes(content: bytes, place: object = "measurement") -> Measurement:
    """Read what `to_bytes` wrote.

    Raises:
        UserError: at `place`, if the content is damaged or of another format.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as fields:
            found = int(fields["format"])
            if found not in (1, FORMAT):
                raise _damaged(place, f"has format `{found}`, not `{FORMAT}`")
            channels, height, width = (int(side) for side in fields["shape"])
            shape = (channels, height, width)
            identity, y = str(fields["identity"]), fields["y"]
            if found == 1:
                sigma, boundary = float(fields["sigma"]), str(fields["boundary"])
                measurement = of_blur(identity, y, fields["kernel"], sigma, boundary, shape)
            else:
                operator, noise = (_section(fields, name) for name in ("operator", "noise"))
                measurement = Measurement(identity, y, shape, operator, noise)
        _check(measurement, place)
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
    return measurement


def read(path: Path) -> Measurement:
    """Read and check a measurement; raises `UserError` if it is missing or damaged."""
    return from_bytes(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """A stored measurement as it is, not checked; raises `UserError` if it is missing."""
    try:
        return reading.bounded(path, reading.ARRAYS)
    except FileNotFoundError:
        raise UserError.of(path, "there is no such measurement", FRESH) from None


def _section(fields: Mapping[str, NDArray[Any]], name: str) -> dict[str, Any]:
    """The kind and the parameters that a file has of its operator or of its noise."""
    found: dict[str, Any] = {"kind": str(fields[name])}
    start = f"{name}."
    for each in sorted(fields):
        if each.startswith(start):
            value = fields[each]
            found[each.removeprefix(start)] = value.item() if value.ndim == 0 else value
    return found


def _check(m: Measurement, place: object) -> None:
    if m.y.dtype != np.float32 or m.y.ndim != 3:
        raise _damaged(place, f"`y` is {m.y.dtype} with shape {m.y.shape}")
    if not np.isfinite(m.y).all():
        raise _damaged(place, "`y` has values that are not finite")
    family = FAMILIES.get(m.operator["kind"])
    if family is None:
        raise _damaged(place, f"has an unknown operator `{m.operator['kind']}`")
    if wrong := family.wrong(m.parameters, m.shape):
        raise _damaged(place, wrong)
    if m.y.shape != family.measured(m.parameters, m.shape):
        raise _damaged(place, f"y of shape {m.y.shape} does not belong to an image {m.shape}")
    if wrong := _wrong_noise(m):
        raise _damaged(place, wrong)


def _wrong_noise(m: Measurement) -> str:
    names = noise_models.NAMES.get(m.noise["kind"])
    if names is None:
        return f"has unknown noise `{m.noise['kind']}`"
    for name in names:
        value = m.noise[name]
        lowest = 0 if name == "sigma" else np.finfo(float).tiny
        if not isinstance(value, float) or not lowest <= value < np.inf:
            return f"{name} is `{value}`"
    if m.noise["kind"] == "poisson" and m.y.min() < 0:
        return f"y is `{m.y.min():.3g}` somewhere, Poisson noise has no negative values"
    return ""


def _damaged(place: object, cause: str) -> UserError:
    return UserError.of(place, cause, FRESH)
