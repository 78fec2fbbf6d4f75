"""What a method needs, tried from inside a jail: torch and its threads, in place of the runner.

launcher.py THREADS          one line for each: {"name", "happened", "said"}
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path


def main() -> None:
    threads = int(sys.argv[1])
    tell("import torch and deepinv", imports)
    tell("convolve in float32", lambda: convolve("float32"))
    tell("convolve in bfloat16", lambda: convolve("bfloat16"))
    tell("transform by FFT", transform)
    tell(f"compute on {threads} threads", lambda: on_threads(threads))


def tell(name: str, what: Callable[[], str]) -> None:
    try:
        said, happened = what(), True
    except Exception as error:
        said, happened = f"{type(error).__name__}: {error}", False
    print(json.dumps({"name": name, "happened": happened, "said": said}), flush=True)


def imports() -> str:
    import torch

    import challenge.data  # noqa: F401 -- as the inference process does

    began = time.monotonic()
    import deepinv  # noqa: F401

    return f"torch {torch.__version__}, {time.monotonic() - began:.1f} s for deepinv"


def convolve(dtype: str) -> str:
    import torch

    kind = getattr(torch, dtype)
    x = torch.ones(1, 8, 32, 32, dtype=kind).to(memory_format=torch.channels_last)
    y = torch.nn.functional.conv2d(x, torch.ones(8, 8, 3, 3, dtype=kind))
    if not bool((y == 72).all()):
        raise ArithmeticError("a wrong result")
    return ""


def transform() -> str:
    import torch

    x = torch.arange(3 * 64 * 64, dtype=torch.float64).reshape(3, 64, 64)
    difference = float((torch.fft.irfft2(torch.fft.rfft2(x), s=(64, 64)) - x).abs().max())
    if difference > 1e-8:
        raise ArithmeticError(f"differs by {difference:.2g}")
    return ""


def on_threads(threads: int) -> str:
    """Counts the threads that computed, by the processor time of each."""
    import torch

    torch.set_num_threads(threads)
    x = torch.ones(800, 800)
    before = times()
    for _ in range(40):
        x @ x
    busy = sum(1 for name, used in times().items() if used > before.get(name, 0))
    if busy < threads:
        raise OSError(f"only {busy} computed")
    return ""


def times() -> dict[str, int]:
    """Ticks of the processor that each thread of this process has used."""
    found = {}
    for path in Path("/proc/self/task").glob("*/stat"):
        fields = path.read_text().rpartition(")")[2].split()
        found[path.parent.name] = int(fields[11]) + int(fields[12])
    return found


if __name__ == "__main__":
    main()
