"""What a run or a verdict was made with: versions and the machine, in words. Free of torch."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = {"toolkit": "challenge", "torch": "torch", "deepinv": "deepinv"}


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 256 * 2**20
"""Bytes of free memory at the end of the heap that are not given back."""
_LARGEST = 32 * 2**20
"""Bytes of the largest block that comes from the heap; glibc accepts no more."""


def versions() -> dict[str, str]:
    """Installed versions of the toolkit, torch and deepinv."""
    return {word: version_of(package) for word, package in PACKAGES.items()}


def metric_versions() -> dict[str, str]:
    """Installed versions of what computes the scores."""
    return {package: version_of(package) for package in ("scikit-image", "scipy", "numpy")}


def core_numbers() -> list[int]:
    """The processor cores that this process may use; empty where the system does not say."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    return []


def cores() -> int:
    """How many processor cores this process may use."""
    return len(core_numbers()) or os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """Processor, cores, memory in bytes, system and Python."""
    import psutil

    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def kind() -> str:
    """The kind of processor: its name, and what it can compute with at once.

    Libraries choose their loops by these instructions, and other loops round otherwise.
    """
    marks = ("avx", "fma", "amx", "sse4", "asimd", "sve", "neon", "bf16", "f16c")
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            word, _, values = line.partition(":")
            if word.strip() in ("flags", "Features"):
                found = {each for each in values.split() if each.startswith(marks)}
                break
    return " ".join([_processor(), *sorted(found)])


def keep_memory() -> bool:
    """Keep freed memory of this process for the next array; False where there is no glibc.

    glibc gives every block above a threshold back to the kernel, which hands it out anew, page by
    page and zeroed. For arrays of some megabytes, freed and allocated over and over, that is a
    third of SSIM's time and almost half of a small network's on the CPU.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, _KEPT))
    return False


def forget_peak_memory() -> None:
    """Let `peak_memory` count from now on, where the system can: on Linux, and on a GPU."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def gpu() -> str:
    """The name of the GPU that torch uses."""
    import torch

    return torch.cuda.get_device_name()


def peak_memory() -> dict[str, int]:
    """The most memory that this process has held so far, in bytes: `peak_memory`, by the system's
    count, and `peak_gpu_memory`, by torch's, where it used a GPU."""
    import psutil

    status = Path("/proc/self/status")
    if status.exists():
        found = {"peak_memory": 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])}
    elif sys.platform == "win32":
        found = {"peak_memory": int(psutil.Process().memory_info().peak_wset)}
    else:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        found = {"peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        found["peak_gpu_memory"] = torch.cuda.max_memory_allocated()
    return found


def version_of(package: str) -> str:
    """The installed version of a package, `unknown` where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
