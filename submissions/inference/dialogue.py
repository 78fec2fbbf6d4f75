"""What the supervisor says to an inference process, and what it accepts as an answer.

Whatever goes wrong becomes `Failed`, an outcome with its cause: nothing that comes from the
other side is believed, and every wait has a deadline.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from challenge.configs.schema.challenge import Limits
from challenge.submissions.inference.messages import Channel, Ended, Header, Malformed, Message
from challenge.submissions.jail import processes
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.spawn import THREADS
from challenge.submissions.jail.watch import Watch
from challenge.submissions.outcomes import Outcome
from challenge.submissions.text import one_line, one_sentence

BEFORE = "before the team's code was reached"
SPREAD = "the standard deviation"
_REPORTED: tuple[Outcome, ...] = ("import_error", "crash", "out_of_memory")
"""What an inference process may say of itself: each of them is a failure."""


@dataclass
class Failed(Exception):
    """The entry failed: the outcome, and why in one line."""

    outcome: Outcome
    cause: str


class Answer(NamedTuple):
    """What an entry made of a measurement: finite floats of the image's shape."""

    x_hat: NDArray[np.float32]
    deviation: NDArray[np.float32] | None = None
    """The standard deviation of every value, >= 0; None where the method gives none."""


@dataclass
class Dialogue:
    """One conversation, from the start of the process to its end."""

    process: subprocess.Popen[bytes]
    channel: Channel
    watch: Watch
    limits: Limits
    deadline: float
    """On the clock of `time.monotonic()`."""
    level: Level = "process"
    stage: str = BEFORE
    """What the process is doing, for the cause of a failure."""
    ready: bool = False
    _asked: tuple[tuple[int, int, int], str] = ((0, 0, 0), "")
    """The shape of the image that was asked for last, and the word that its answer must repeat."""

    def start(self) -> None:
        """Wait until the method is built and has its weights."""
        self._next("started")
        self.stage = "while the method was loaded"
        self._next("ready")
        self.ready = True

    def ask(self, content: bytes, shape: tuple[int, int, int]) -> None:
        """Hand over a stored measurement.

        Args:
            content: the bytes of the `.npz` file.
            shape: (C, H, W) of the image.
        """
        # The estimate, and its standard deviation where the method gives one.
        self.channel.accept = 2 * 4 * int(np.prod(shape))
        # Whoever answers must have read the question: an answer that was sent before is none.
        self._asked = shape, secrets.token_hex(8)
        self.channel.send({"kind": "measure", "turn": self._asked[1]}, content)

    def answer(self) -> Answer:
        """The reconstruction of what was handed over last."""
        shape, turn = self._asked
        message = self._next("estimate")
        if message.header.get("turn") != turn:
            raise self._failed("crash", "it answered out of turn")
        return self._checked(message, shape)

    def contract(self, about: dict[str, Any]) -> tuple[str, ...]:
        """The rules of the method contract that the entry breaks, by its own account."""
        self.stage = "in the contract test"
        self.deadline = time.monotonic() + self.limits.minutes * 60
        self.channel.accept = 1_000_000
        self.channel.send({"kind": "contract", **about})
        try:
            found = json.loads(self._next("contract").payload or b"")
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list):
            raise self._failed("crash", "it answered out of turn")
        return tuple(one_sentence(each, 600) for each in found)

    def check_memory(self) -> None:
        """Look at the memory now, so that a peak of the last moment counts."""
        self.watch.sample()
        if self.watch.exceeded:
            raise self._ended()

    def _next(self, kind: str) -> Message:
        """The next message, which must be of this kind."""
        try:
            message = self.channel.receive(self.deadline)
        except TimeoutError:
            cause = f"the limit of {self.limits.minutes:g} min came"
            raise Failed("timeout", f"{cause} {self.stage}") from None
        except Ended:
            raise self._ended() from None
        except Malformed as error:
            raise self._failed("crash", f"its answer is no message: {error}") from None
        header = message.header
        if header.get("kind") == "failed":
            raise self._reported(header)
        if header.get("kind") != kind:
            raise self._failed("crash", "it answered out of turn")
        return message

    def _reported(self, header: Header) -> Failed:
        """What the runner says of an exception."""
        text = one_sentence(header.get("error", ""), 600)
        if self.level != "process" and text.startswith("PermissionError"):
            text += "; an entry gets no other files, no network and no new processes"
        reported = header.get("outcome")
        for outcome in _REPORTED:
            if outcome == reported:
                return self._failed(outcome, text)
        return self._failed("crash", text)

    def _ended(self) -> Failed:
        """Why the process is gone."""
        if self.watch.full:
            quota = f"{self.watch.quota // 2**20} MiB"
            return self._failed("crash", f"it wrote over {quota} to disk, or hid what it wrote")
        if self.watch.crowded:
            return self._failed("crash", f"it had over {THREADS} threads")
        if self.watch.exceeded:
            used, limit = self.watch.peak / 1e9, self.limits.memory_gb
            return self._failed("out_of_memory", f"it used {used:.2f} GB of {limit:g} GB")
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return self._failed("crash", "it closed its pipes")
        if self.level == "bubblewrap" and code > 128:
            # So bubblewrap passes on by which signal the process inside ended.
            code = 128 - code
        how = f"its process {processes.describe_end(code)}"
        if code == -9 and self.watch.ran_out():
            return self._failed("out_of_memory", how)
        if code == -9 and self.watch.headless:
            return self._failed("crash", "its first thread ended while others went on")
        if not self.ready:
            return self._failed("import_error", how)
        return self._failed("missing_output" if code == 0 else "crash", how)

    def _checked(self, message: Message, shape: tuple[int, int, int]) -> Answer:
        header, payload = message.header, message.payload
        self._look_at(header, shape, "x_hat")
        if (deviation := header.get("deviation")) is None:
            return Answer(self._finite(payload, shape, "x_hat"))
        if not isinstance(deviation, dict):
            raise self._failed("crash", "it answered out of turn")
        self._look_at(deviation, shape, SPREAD)
        size = 4 * int(np.prod(shape))
        x_hat = self._finite((payload or b"")[:size], shape, "x_hat")
        s = self._finite((payload or b"")[size:], shape, SPREAD)
        if (s < 0).any():
            raise self._failed("non_finite", f"{float(np.mean(s < 0)):.1%} of {SPREAD} is negative")
        return Answer(x_hat, s)

    def _look_at(self, header: Header, shape: tuple[int, int, int], what: str) -> None:
        """Raise `Failed` where an entry says itself that what it made is no image of this shape."""
        kind, dtype, got = (header.get(key) for key in ("type", "dtype", "shape"))
        expected = [1, *shape]
        if kind != "Tensor":
            source = "forward returned" if what == "x_hat" else f"{what} is"
            raise self._failed("bad_shape", f"{source} a {one_line(kind, 80)}, not a tensor")
        if (why := header.get("unreadable")) is not None:
            raise self._failed("bad_shape", f"{what} cannot be read: {one_sentence(why, 600)}")
        if got != expected:
            raise self._failed("bad_shape", f"{what} has shape {one_line(got, 80)}, not {expected}")
        if dtype != "float32":
            raise self._failed("bad_shape", f"{what} is {one_line(dtype, 80)}, not float32")

    def _finite(
        self, payload: bytes | None, shape: tuple[int, int, int], what: str
    ) -> NDArray[np.float32]:
        """The floats of an image, if they are as many as it has, and finite."""
        if payload is None or len(payload) != 4 * int(np.prod(shape)):
            raise self._failed("bad_shape", f"{what} has not as many bytes as float32 takes")
        values = np.frombuffer(payload, dtype=np.float32).reshape(shape)
        if not np.isfinite(values).all():
            share = float(np.mean(~np.isfinite(values)))
            raise self._failed("non_finite", f"{share:.1%} of {what} is NaN or infinite")
        return values

    def _failed(self, outcome: Outcome, cause: str) -> Failed:
        return Failed(outcome, f"{cause} ({self.stage})")
