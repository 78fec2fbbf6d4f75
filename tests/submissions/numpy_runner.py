"""A runner without torch, for the judge's tests: it starts in a tenth of the time.

It takes what it needs of a measurement out of the file itself: what knows the models of every
operator and noise takes twice as long to import as numpy. The entry's folder holds a `method.py`
with `forward(y, identity)` on arrays of shape (C, H, W); or a `with_deviation` that may
return a standard deviation as well.
"""

import io
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np

from challenge.submissions.inference import runner


def load() -> Any:
    found = runpy.run_path(str(Path(sys.argv[1]) / "method.py"))
    return found.get("with_deviation") or found["forward"]


def estimate(forward: Any, content: bytes) -> tuple[dict[str, Any], bytes]:
    with np.load(io.BytesIO(content), allow_pickle=False) as fields:
        found = forward(fields["y"], str(fields["identity"]))
    if forward.__name__ == "with_deviation" and isinstance(found, tuple):
        (about, x_hat), (more, deviation) = map(describe, found)
        return {**about, "deviation": more}, x_hat + deviation
    return describe(found)


def describe(x_hat: Any) -> tuple[dict[str, Any], bytes]:
    if not isinstance(x_hat, np.ndarray):
        return {"kind": "estimate", "type": type(x_hat).__name__}, b""
    described = {"type": "Tensor", "dtype": str(x_hat.dtype), "shape": [1, *x_hat.shape]}
    return {"kind": "estimate", **described}, x_hat.tobytes()


if __name__ == "__main__":
    requests, answers = runner.private_pipes()
    runner.serve(requests, answers, load=load, estimate=estimate, test=lambda header: ["shape: no"])
