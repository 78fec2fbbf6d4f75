"""Kernels from files of other programs: `.npy`, `.npz`, and MATLAB's `.mat` of any version.

Read as stored: true convolution, centre at index k // 2, in the orientation MATLAB or numpy shows.
Nothing is unpickled.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs.errors import UserError

Arrays = list[NDArray[np.float64]]
_NAMES = ("kernels", "kernel", "k", "psf", "filter")
"""The variable that is taken where a file has several, in this order."""
_REMEDY = "store one 2-D array, an array (N, k, k) or, in MATLAB, a cell of 2-D arrays"
_NUMBERED = re.compile(r"(.*?)(\d{1,9})")


def read(path: Path) -> Arrays:
    """Read the kernels of a file: 2-D float64 arrays, not yet normalised or padded.

    Several variables that differ by a number only, such as `arr_0`, `arr_1` of `np.savez(path,
    *kernels)`, are the kernels in the order of the numbers.

    Raises:
        UserError: if the file cannot be read, holds no kernels, or holds several other variables
            of which none is named `kernels`.
    """
    readers = {".npy": _read_npy, ".npz": _read_npz, ".mat": _read_mat}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError.of(path, "is no kernel file", f"use one of {', '.join(readers)}")
    try:
        found = {name: kernels for name, value in reader(path).items() if (kernels := _list(value))}
    except UserError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError.of(path, f"cannot be read ({type(error).__name__})", _REMEDY) from error
    if not found:
        raise UserError.of(path, "holds no kernels", _REMEDY)
    if len(found) > 1:
        named = {name.lower(): name for name in found}
        chosen = next((named[name] for name in _NAMES if name in named), None)
        if chosen is None and (ordered := _numbered(list(found))):
            return [kernel for name in ordered for kernel in found[name]]
        if chosen is None:
            names = ", ".join(f"`{name}`" for name in found)
            raise UserError.of(path, f"holds several arrays: {names}", "name one of them `kernels`")
        return found[chosen]
    return next(iter(found.values()))


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
    """MATLAB's (k, k, N) becomes (N, k, k), a cell becomes a list."""
    if value.dtype == object:
        return [_from_matlab(np.asarray(member)) for member in value.ravel("F")]
    return np.moveaxis(value, 2, 0) if value.ndim == 3 else value


def _list(value: Any) -> Arrays:
    """The 2-D kernels in a variable; none if it is something else."""
    if isinstance(value, list):
        return [kernel for member in value for kernel in _list(member)]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        return []
    if value.ndim == 4 and value.shape[1] == 1:
        value = value[:, 0]
    if value.ndim == 3:
        return [kernel for member in value for kernel in _list(member)]
    if value.ndim != 2 or min(value.shape) < 2:
        return []
    return [value.astype(np.float64)]
