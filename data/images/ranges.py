"""Which values mean black and white: what the file says, before what its type could hold.

unsigned, b bits    0 to 2^b - 1
signed, b bits      0 to 2^(b-1) - 1; negative values have no meaning
32 and 64 bits      0 to 65535 where no value is larger, since programs store 16 bits so
float               0 to 1; or 0 to 255 where the largest value is above 16
declared            unsigned: as many bits as the declared maximum needs; others: exactly that
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_OVERSHOOT = 0.05
"""By which a float picture, enlarged or sharpened, may leave [0, 1]; it is clipped."""
_LEAST_OF_BYTES = 16
"""A float picture from 0 to 255 whose largest value is lower would be all but black."""


class Range(NamedTuple):
    black: float
    white: float
    remarks: tuple[str, ...] = ()


class Meaningless(ValueError):
    """Values whose range cannot be known; the text says which values they are."""


def of(values: NDArray[Any], bits: int, low: float | None, high: float | None) -> Range:
    """The range of samples.

    Args:
        values: any shape, real.
        bits: of a sample, as the file says.
        low: the lowest value that the file declares, if it does.
        high: the highest value that it declares.

    Raises:
        Meaningless: for values that are not finite, negative, or floats of no known range.
    """
    if values.dtype.kind == "f":
        return _of_floats(values, low, high)
    largest, smallest = int(values.max()), int(values.min())
    white = max(1, 2 ** (bits - (values.dtype.kind == "i")) - 1)
    if smallest < 0 and low is not None and high is not None and low <= smallest < largest <= high:
        return Range(low, high)
    if smallest < 0:
        raise Meaningless(f"has values from {smallest} to {largest}, negative ones among them")
    if bits > 16 and largest <= 65535:
        white = 65535
    if high is not None and max(largest, 1) <= high < white:
        declared = 2 ** int(high).bit_length() - 1
        if declared < white:
            told = f"white is {declared}, since the file says that its values end at {int(high)}"
            return Range(0, declared, (told,))
    if bits > 8 and 0 < largest <= white / 4:
        used = f"{white.bit_length()} bits"
        return Range(
            0,
            white,
            (f"values below a quarter of the {used}; scale them if they have fewer",),
        )
    return Range(0, white)


def _of_floats(values: NDArray[Any], low: float | None, high: float | None) -> Range:
    if not np.isfinite(values).all():
        raise Meaningless("has values that are not finite")
    smallest, largest = float(values.min()), float(values.max())
    if low is not None and high is not None and low <= smallest and largest <= high and low < high:
        return Range(low, high)
    if smallest >= -_OVERSHOOT and largest <= 1 + _OVERSHOOT:
        return Range(0, 1)
    if smallest >= -_OVERSHOOT * 255 and _LEAST_OF_BYTES < largest <= 255 * (1 + _OVERSHOOT):
        return Range(0, 255, ("floats above 1, white is taken to be 255",))
    raise Meaningless(f"has floats from {smallest:.4g} to {largest:.4g}, neither to 1 nor to 255")
