"""The program that times the kernels of `speed` on this machine.

    python -I -m challenge.submissions.inference.kernel_times THREADS  -> times, one JSON object
    python -I -m challenge.submissions.inference.kernel_times  -> whether torch has bfloat16

Other programs run on a laptop too. So the kernels take turns over many rounds, each kernel's
median counts, and its lowest and highest tenth are stated as its spread.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

SECONDS = 2.5
"""Seconds of measuring, after the imports and the first calls."""
SAMPLE = 0.01
"""Seconds of one sample: a kernel that is faster is called several times."""
ROUNDS = 5
"""Samples of each kernel at least, on a machine however slow."""


def timings(threads: int) -> dict[str, dict[str, float]]:
    """Seconds of every kernel, measured in this process."""
    import torch

    from challenge.methods.training.precision import cpu_has_bf16
    from challenge.submissions.machine import keep_memory

    keep_memory()
    torch.set_num_threads(threads)
    with torch.no_grad():
        kernels = dict(_kernels(bf16=cpu_has_bf16()))
        calls = {name: _calls(kernel) for name, kernel in kernels.items()}
        samples: dict[str, list[float]] = {name: [] for name in kernels}
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end or len(samples["python"]) < ROUNDS:
            for name, kernel in kernels.items():
                samples[name].append(_time(kernel, calls[name]))
    return {name: _summary(taken) for name, taken in samples.items()}


def _calls(kernel: Callable[[], object]) -> int:
    """Calls of a kernel that fill a sample, by the fastest of its first calls."""
    return max(1, round(SAMPLE / min(_time(kernel, 1) for _ in range(5))))


def _time(kernel: Callable[[], object], calls: int) -> float:
    """Seconds of one call, over several."""
    began = time.perf_counter()
    for _ in range(calls):
        kernel()
    return (time.perf_counter() - began) / calls


def _summary(samples: list[float]) -> dict[str, float]:
    tenths = statistics.quantiles(samples, n=10, method="inclusive")
    return {"seconds": statistics.median(samples), "low": tenths[0], "high": tenths[-1]}


def _kernels(*, bf16: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """The mix of format 1; whoever changes a kernel changes `speed.FORMAT`."""
    import torch
    from torch.nn.functional import conv2d

    random = torch.Generator().manual_seed(0)
    for name, channels, side in (("conv32", 32, 128), ("conv64", 64, 64)):
        x = torch.randn(1, channels, side, side, generator=random)
        weight = torch.randn(channels, channels, 3, 3, generator=random)
        yield name, partial(conv2d, x, weight, padding=1)
        if bf16:
            x, weight = (
                each.to(torch.bfloat16, memory_format=torch.channels_last) for each in (x, weight)
            )
            yield f"{name}_bf16", partial(conv2d, x, weight, padding=1)

    image = torch.randn(3, 256, 256, generator=random)

    def transform() -> object:
        """To and fro, as a circular deconvolution, once from real and once from complex values."""
        half = torch.fft.irfft2(torch.fft.rfft2(image), s=image.shape[-2:])
        return half, torch.fft.ifft2(torch.fft.fft2(image))

    yield "fft", transform
    values = torch.randn(2**20, generator=random)
    yield "elementwise", lambda: values.sign() * (values.abs() - 0.1).clamp_min(0)
    yield "python", _interpreter(_module())


def _module() -> bytes:
    """Code as an import reads it from a cache: twenty small classes."""
    import marshal

    text = "".join(
        f"class C{i}:\n"
        f"    '''Number {i}.'''\n"
        f"    x: int = {i}\n"
        f"    def f(self, a, b={i}):\n"
        f"        return [a * k + b for k in range({i})]\n"
        f"    def g(self):\n"
        f"        return {{'a{i}': self.f, 'b': ({i}, 'c')}}\n"
        for i in range(20)
    )
    return marshal.dumps(compile(text, "<speed>", "exec"))


def _interpreter(code: bytes) -> Callable[[], object]:
    """What start-up is made of: code is loaded and run, classes are made, dictionaries filled."""
    import marshal

    def run() -> object:
        names: dict[str, Any] = {}
        exec(marshal.loads(code), names)
        for i in range(20):
            made = names[f"C{i}"]()
            made.f(i)
            made.g()
        counted = {str(i): i * i for i in range(3000)}
        return sum(counted.values())

    return run


def main() -> None:
    if len(sys.argv) > 1:
        answer: Mapping[str, Any] = {"kernels": timings(int(sys.argv[1]))}
    else:
        from challenge.methods.training.precision import cpu_has_bf16

        answer = {"bf16": cpu_has_bf16()}
    print(json.dumps(answer, allow_nan=False))


if __name__ == "__main__":
    main()
