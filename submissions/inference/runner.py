"""The inference process: it sees an entry and one measurement at a time, nothing else.

    launcher.py ENTRY_FOLDER THREADS      (`jail`: it shuts the process in, then runs this)

stdin and stdout carry messages (`messages`); before any code of a team is imported they are moved
out of its reach: stdin is empty for it and whatever it prints goes to the log. In order:

    -> started                      our own imports are done
    -> ready | failed               the method is built and has its weights
    <- measure, with an npz         -> estimate, with the raw floats | failed
    <- contract                     -> contract, with the rules it breaks

Time, shapes and values are checked by the supervisor; nothing is believed that is said here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import challenge.data  # noqa: F401 -- makes the import of deepinv quick
from challenge.submissions.inference import messages

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from challenge.methods.contract import Method

T = TypeVar("T")
LONGEST = 600
"""Characters of an error's text in a message; the whole traceback is in the log."""


def main() -> None:
    requests, answers = private_pipes()
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    import faulthandler

    import torch

    from challenge.submissions.machine import keep_memory

    keep_memory()
    import deepinv  # noqa: F401

    from challenge.data.physics import measurements, problem  # noqa: F401
    from challenge.submissions.inference.loading import load_folder

    faulthandler.enable()
    torch.set_num_threads(threads)
    serve(
        requests,
        answers,
        load=lambda: load_folder(folder),
        estimate=estimate,
        test=lambda header: broken_rules(folder, header),
    )


def serve(
    requests: BinaryIO,
    answers: BinaryIO,
    *,
    load: Callable[[], T],
    estimate: Callable[[T, bytes], tuple[dict[str, Any], bytes]],
    test: Callable[[messages.Header], list[str]],
) -> None:
    """Answer requests until there are no more, or something of the team's fails."""
    messages.write(answers, {"kind": "started"})
    try:
        method = load()
    except BaseException as error:
        _failed(answers, "import_error", error)
        return
    messages.write(answers, {"kind": "ready"})
    while (header := messages.read_header(requests)) is not None:
        payload = messages.read_payload(requests, header["bytes"])
        try:
            if header["kind"] == "contract":
                described, content = {"kind": "contract"}, json.dumps(test(header)).encode()
            else:
                described, content = estimate(method, payload)
        except BaseException as error:
            _failed(answers, "crash", error)
            return
        # Which question this answers: the supervisor takes no other.
        messages.write(answers, {**described, "turn": header.get("turn")}, content)


def private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Move stdin and stdout to new descriptors; leave an empty stdin, and the log as stdout."""
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    if sys.platform == "win32":
        import msvcrt

        for descriptor in (requests, answers):
            msvcrt.setmode(descriptor, os.O_BINARY)
    return os.fdopen(requests, "rb"), os.fdopen(answers, "wb")


def estimate(method: Method, content: bytes) -> tuple[dict[str, Any], bytes]:
    """Reconstruct one measurement; what came out, in words, and its floats if it is a tensor.

    The floats of a standard deviation that the method gives follow those of the estimate.
    """
    import torch

    from challenge.data.physics import measurements
    from challenge.data.physics.problem import tensors
    from challenge.methods.contract import HasDeviation

    measurement = measurements.from_bytes(content)
    reseed(measurement.identity)
    y, physics = tensors(measurement)
    method.eval()
    with torch.no_grad():
        if isinstance(method, HasDeviation):
            x_hat, deviation = method.with_deviation(y, physics)
        else:
            x_hat, deviation = method(y, physics), None
    described, content = _read(x_hat, measurement.shape)
    if deviation is None or not content:
        return described, content
    about, more = _read(deviation, measurement.shape)
    return {**described, "deviation": about}, content + more


def _read(x_hat: object, shape: Sequence[int]) -> tuple[dict[str, Any], bytes]:
    """What a method gave, in words, and its floats if it is an image of this shape."""
    import torch

    if not isinstance(x_hat, torch.Tensor):
        return {"kind": "estimate", "type": type(x_hat).__name__[:80]}, b""
    described: dict[str, Any] = {"kind": "estimate", "type": "Tensor"}
    try:
        # A subclass may compute as it likes, but is read as the tensor that it is.
        with torch._C.DisableTorchFunctionSubclass():
            plain = torch.Tensor.detach(x_hat)
            described["dtype"] = str(plain.dtype).removeprefix("torch.")
            described["shape"] = [int(size) for size in plain.shape]
            if plain.dtype != torch.float32 or described["shape"] != [1, *shape]:
                return described, b""
            return described, array(plain).tobytes()
    except Exception as error:
        if out_of_memory(error):
            raise
        # A tensor without values, for instance: no answer, and no fault of the runner's.
        traceback.print_exc()
        return {**described, "unreadable": _in_words(error)}, b""


def array(x: torch.Tensor) -> NDArray[np.float32]:
    """The values of a tensor, however it keeps them: sparse, negated, in any order."""
    import torch

    dense = x if x.layout == torch.strided else x.to_dense()
    found: NDArray[np.float32] = dense.numpy(force=True)
    return found


def reseed(identity: str) -> None:
    """Set every random generator from the image's id, so that the order of images is nothing."""
    import random

    import numpy as np
    import torch

    seed = int.from_bytes(hashlib.sha256(f"judge {identity}".encode()).digest()[:4], "big")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def broken_rules(folder: Path, header: messages.Header) -> list[str]:
    """The rules of the method contract that the entry breaks."""
    from challenge.methods import contract_test
    from challenge.submissions.inference.loading import load_folder

    problem = contract_test.toy_problem(
        header["channels"], header["boundary"], header["operator"], header["noise"]
    )
    takes = load_folder(folder).operators
    if takes is not None and header["operator"] not in takes:
        return [f"operators: it is for {', '.join(takes)}, this one is {header['operator']}"]
    return [
        str(failure)
        for failure in contract_test.check(lambda: load_folder(folder), problem=problem)
    ]


def _failed(answers: BinaryIO, outcome: str, error: BaseException) -> None:
    traceback.print_exc()
    if out_of_memory(error):
        outcome = "out_of_memory"
    messages.write(answers, {"kind": "failed", "outcome": outcome, "error": _in_words(error)})


def _in_words(error: BaseException) -> str:
    """The class of an exception and what it says, in at most `LONGEST` characters."""
    try:
        return f"{type(error).__name__}: {error}"[:LONGEST]
    except Exception:  # an exception of a team may fail to describe itself
        return type(error).__name__


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory could not be had: Python's, or torch's own words."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    words = error.args[0] if type(error) is RuntimeError and error.args else ""
    return isinstance(words, str) and "alloc" in words and "memory" in words


if __name__ == "__main__":
    main()
