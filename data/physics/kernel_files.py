"""Kernels from files of other programs: `.npy`, `.npz`, MATLAB's `.mat` of any version, pictures.

Read as stored: true convolution, centre at index k // 2, in the orientation MATLAB or numpy shows.
Nothing is unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError
from challenge.data import reading
from challenge.data.images import colour, decode, formats
from challenge.data.physics import kernel_axes
from challenge.data.physics.kernel_axes import Rank

Arrays = list[NDArray[np.float64]]
Notice = Callable[[str], None]
_NAMES = ("kernels", "kernel", "k", "psf", "filter")
"""The variable that is taken where a file has several, in this order."""
_REMEDY = "store one 2-D array, an array (N, k, k) or, in MATLAB, a cell of 2-D arrays"
_EACH = "store each kernel as a 2-D array, as `np.savez(path, *kernels)` or a MATLAB cell does"
_NUMBERED = re.compile(r"(.*?)(\d{1,9})")


def read(path: Path, notice: Notice = lambda _: None) -> Arrays:
    """Read the kernels of a file: 2-D float64 arrays, not yet normalised or padded.

    Several variables that differ by a number only, such as `arr_0`, `arr_1` of `np.savez(path,
    *kernels)`, are the kernels in the order of the numbers. A picture is one kernel.

    Args:
        notice: called with what was taken for what, in one line.

    Raises:
        UserError: if the file cannot be read, holds no kernels, holds several other variables of
            which none is named `kernels`, or an array whose axes could mean several things.
    """
    if path.suffix.lower() in formats.suffixes():
        return [_read_picture(path, notice)]
    readers = {".npy": _read_npy, ".npz": _read_npz, ".mat": _read_mat}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(readers)
        raise UserError.of(path, "is no kernel file", f"use one of {known}, or a picture")
    try:
        reading.check(path)
        variables = {name: kernel_axes.kernels(value) for name, value in reader(path).items()}
    except UserError:
        raise
    # A damaged file leads the readers into any exception: one whose header promises more than any
    # memory holds, links and references that lead back to themselves.
    except Exception as error:
        raise UserError.of(path, f"cannot be read ({type(error).__name__})", _REMEDY) from error
    found = {name: value for name, value in variables.items() if value.rank is Rank.KERNELS}
    # A row of numbers is a kernel only where there is nothing else; beside one it says something.
    found = found or {name: value for name, value in variables.items() if value.rank is Rank.ROW}
    if not found:
        held = ", ".join(f"`{name}` {value.held}" for name, value in variables.items())
        raise UserError.of(path, f"holds no kernels, only {held}"[:200], _REMEDY)
    kernels: Arrays = []
    for name in _chosen(path, list(found)):
        value = found[name]
        if value.problem:
            raise UserError.of(path, f"`{name}` {value.problem}", _EACH)
        if value.told:
            notice(f"{path}: {value.told}")
        kernels += value.arrays
    return kernels


def _chosen(path: Path, names: list[str]) -> list[str]:
    """The variables that hold the kernels, in their order."""
    if len(names) == 1:
        return names
    named = {name.lower(): name for name in names}
    chosen = next((named[name] for name in _NAMES if name in named), None)
    if chosen is not None:
        return [chosen]
    if ordered := _numbered(names):
        return ordered
    several = ", ".join(f"`{name}`" for name in names)
    raise UserError.of(path, f"holds several arrays: {several}", "name one of them `kernels`")


def _read_picture(path: Path, notice: Notice) -> NDArray[np.float64]:
    """The grey values of a picture, black being 0, with a sum of 1."""
    samples = decode.read(path)
    kernel = colour.luminance(samples)
    if samples.alpha != "none" and np.ptp(samples.values[..., -1]):
        raise UserError.of(path, "is a picture with transparent parts", "save it without them")
    lossy = "; a JPEG file adds errors around it" if formats.of(path) == "JPEG" else ""
    notice(f"{path}: a picture, read as grey and normalised{lossy}")
    border = np.concatenate([kernel[0], kernel[-1], kernel[:, 0], kernel[:, -1]])
    if border.mean() > kernel.max() / 2 and border.min() > kernel.min():
        notice(f"{path}: brighter at its border than inside, but a kernel is white on black")
    total = float(kernel.sum())
    return kernel / total if total > 0 else kernel


def _numbered(names: list[str]) -> list[str]:
    """Names that are one word with a number behind it, by number; empty if they are not."""
    found = [
        (match[1], int(match[2]), name) for name in names if (match := _NUMBERED.fullmatch(name))
    ]
    if len(found) < len(names) or len({word for word, *_ in found}) > 1:
        return []
    return [name for *_, name in sorted(found)]


def _read_npy(path: Path) -> dict[str, Any]:
    return {"kernels": np.load(path, allow_pickle=False)}


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read_mat(path: Path) -> dict[str, Any]:
    import h5py

    if h5py.is_hdf5(path):
        with h5py.File(path) as file:
            return {name: _from_hdf5(file, item) for name, item in file.items() if name[0] != "#"}
    import scipy.io

    try:
        variables = scipy.io.loadmat(path)
    except Exception as error:  # its parser raises whatever a damaged file leads it to
        raise ValueError(str(error)) from error
    return {
        name: _from_matlab(value) for name, value in variables.items() if not name.startswith("__")
    }


def _from_hdf5(file: Any, item: Any) -> Any:
    """A variable of MATLAB v7.3, whose arrays are stored with reversed axes."""
    import h5py

    if not isinstance(item, h5py.Dataset):
        return None
    if item.dtype == h5py.ref_dtype:  # a cell array: references to its members
        return [_from_hdf5(file, file[reference]) for reference in np.asarray(item).T.ravel("F")]
    value = np.asarray(item)
    return _from_matlab(value.transpose())


def _from_matlab(value: Any) -> Any:
    """A cell becomes a list."""
    if value.dtype == object:
        return [_from_matlab(np.asarray(member)) for member in value.ravel("F")]
    return value
