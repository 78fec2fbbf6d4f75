"""Answers: nothing that comes from an entry is believed, unpickled, or shown as it is."""

from __future__ import annotations

import functools
import textwrap
import time

import numpy as np
import psutil

from challenge.submissions.inference import supervisor

from .attack import ALL, EITHER, Arena, Attack, Ran, never, said, write_measurements

FORGE = """
import numpy as np
from challenge.submissions.inference import messages

def send(header, payload=b""):
    messages.write(answers(), {"turn": turn(), **header}, payload)

def turn():
    frame = sys._getframe()
    while frame.f_locals.get("header", {}).get("kind") != "measure":
        frame = frame.f_back
    return frame.f_locals["header"]["turn"]

def raw(content):
    os.write(answers().fileno(), content)

def framed(header, payload=b""):
    return struct.pack(">I", len(header)) + header + payload

def estimate(array):
    send({"kind": "estimate", "type": "Tensor", "dtype": "float32", "shape": [1, *array.shape]},
         array.astype(np.float32).tobytes())

def forward(y, identity):
    forge(y, identity)
    return y

def forge(y, identity):
"""


def _answer(name: str, source: str, **more: object) -> Attack:
    more = {"evidence": never, "stopped": ALL, "outcome": "crash", "levels": EITHER, **more}
    body = textwrap.indent(textwrap.dedent(source).strip(), "    ")
    return Attack(name, FORGE + body, **more)  # type: ignore[arg-type]


_printing = functools.partial(Attack, evidence=never, stopped=ALL, levels=EITHER)


def foreseen(_: Arena, ran: Ran) -> bool:
    """An answer that was sent before its measurement came was taken for it."""
    second = ran.outputs.get("0001")
    return second is not None and bool(np.all(second == 0.5))


def _busy(arena: Arena, attack: Attack) -> Ran:
    """Judged by a supervisor that needs time between two images, to save or to show them."""
    arena.sources = write_measurements(arena.folder / "large", 2, (3, 256, 256))
    entry = arena.write(attack.source)
    before, sizes = psutil.Process().memory_info().rss, [0]

    def progress(_: supervisor.Step) -> None:
        time.sleep(0.5)
        sizes.append(psutil.Process().memory_info().rss - before)

    output, limits = arena.folder / "output", arena.limits(attack.seconds)
    found = supervisor.infer(entry, arena.sources, output, limits, arena.jail(), progress=progress)
    return Ran(found, 0, {}, b"", max(sizes))


ATTACKS = [
    _answer("speak out of turn", 'send({"kind": "ready"})'),
    _answer("send garbage", 'raw(b"\\xff" * 100_000)'),
    _answer("send a header of two gigabytes", 'raw(b"\\x7f\\xff\\xff\\xff" + b"{" * 10_000)'),
    _answer(
        "send a length beyond all memory",
        'raw(framed(b\'{"kind": "estimate", "bytes": 1\' + b"0" * 18 + b"}"))',
    ),
    _answer("send a length of 10,000 digits",
            'raw(framed(b\'{"kind": "estimate", "bytes": \' + b"9" * 10_000 + b"}"))'),
    _answer("send a header without end", 'raw(framed(b"[" * 16_000))'),
    _answer(
        "send a header that is too deep to be shown",
        # It is read near the bottom of a thread's stack and shown further up another's.
        """
        deep = b"[" * 980 + b"]" * 980
        raw(framed(b'{"kind": "failed", "bytes": 0, "error": ' + deep + b"}"))
        """,
    ),
    _answer(
        "send a pickle",
        """
        import pickle
        class Bomb:
            def __reduce__(self): return os.mkdir, (F.outside + "/unpickled",)
        found = pickle.dumps(Bomb())
        found += bytes(4 * y.size - len(found))
        send({"kind": "estimate", "type": "Tensor", "dtype": "float32", "shape": [1, *y.shape]},
             found)
        time.sleep(1)
        """,
        # Its bytes are numbers like any other; whether they are finite is chance.
        outcome="ok|non_finite|nondeterministic|crash",
        evidence=lambda arena, _: (arena.path("outside") / "unpickled").exists(),
        seconds=3,
    ),
    _answer("send another shape", "estimate(y[:, :4])", outcome="bad_shape"),
    _answer("send values that are none", "estimate(y * float('nan'))", outcome="non_finite"),
    _answer(
        "say that it is well",
        'send({"kind": "failed", "outcome": "ok", "error": "\\x1b[2Jall is well\\n" * 100})',
    ),
    _answer("end in the middle of an answer",
            'raw(framed(b\'{"kind": "estimate", "bytes": 256}\', b"x")); os._exit(0)'),
    _answer("end without an answer", "os._exit(0)", outcome="missing_output"),
    _answer(
        "answer for a later image",
        "if identity == '0000':\n    estimate(y); estimate(np.full_like(y, 0.5)); time.sleep(1)",
        evidence=foreseen,
        seconds=3,
    ),
    _answer(
        "flood the supervisor with answers",
        "if identity == '0001':\n    for _ in range(20_000): estimate(y)",
        outcome="ok|crash|nondeterministic",
    ),
    _answer(
        "flood the supervisor while it is busy",
        "while True: estimate(y)",
        outcome="ok|crash|nondeterministic",
        play=_busy,
        evidence=lambda arena, ran: ran.grown > 40_000_000,
    ),
    _printing(
        "print a hundred megabytes",
        """
        for _ in range(1600): os.write(1, b"x" * 65536)
        print("the end")
        """,
        evidence=lambda _, ran: len(ran.found.log) > 100_000,
    ),
    _printing(
        "print what acts on a terminal",
        r"""
        print("\x1b[2J\x1b]0;title\x07\r\x9b31m \u202eabc\u2066 \x00 \x08\x7f")
        os.write(1, b"\xff\xfe\x80\n")
        raise ValueError("\x1b[2J\r\u202e")
        """,
        outcome="import_error",
        evidence=said("\x1b"),
    ),
    _printing(
        "fail to describe its failure",
        """
        class Odd(Exception):
            def __str__(self): raise RuntimeError
            __repr__ = __str__
        def forward(y, identity): raise Odd
        """,
        outcome="crash",
    ),
    _printing(
        "return what only looks like an array",
        """
        import numpy as np
        class Looks(np.ndarray):
            def tobytes(self): return b"x" * 10_000_000
        def forward(y, identity): return y.view(Looks)
        """,
        outcome="bad_shape",
    ),
]  # fmt: skip
