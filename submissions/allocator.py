"""Keep freed memory for the next array: large temporaries otherwise cost a page fault a page.

glibc gives every block above a threshold back to the kernel, which hands it out anew, page by
page and zeroed. For arrays of some megabytes, freed and allocated over and over, that is a third
of SSIM's time and almost half of a small network's on the CPU.
"""

from __future__ import annotations

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 256 * 2**20
"""Bytes of free memory at the end of the heap that are not given back."""
_LARGEST = 32 * 2**20
"""Bytes of the largest block that comes from the heap; glibc accepts no more."""


def keep_memory() -> bool:
    """Set glibc's thresholds for this process; False where there is no glibc."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, _KEPT))
    return False
