"""Time: the supervisor is back when the limit came, whatever an entry is busy with."""

from __future__ import annotations

import functools
from unittest.mock import patch

from challenge.submissions.inference import supervisor

from .attack import ALL, EITHER, Arena, Attack, Ran, claimed, never

_time = functools.partial(
    Attack, evidence=never, stopped=ALL, outcome="timeout", seconds=1.2, patience=3, levels=EITHER
)


def seconds_forged(_: Arena, ran: Ran) -> bool:
    """It slept for half a second, and is said to have been quick."""
    return sum(ran.found.seconds.values()) < 0.4 or ran.found.total < 0.5


def without_grace(arena: Arena, attack: Attack) -> Ran:
    """A second look that has a second in any case, in place of ten."""
    with patch.object(supervisor, "REPEAT_GRACE", 1.0):
        return arena.judge(attack.source, attack.seconds)


ATTACKS = [
    _time("sleep at import", "time.sleep(60)"),
    _time(
        "sleep in one image",
        """
        def forward(y, identity):
            if identity == "0001": time.sleep(60)
            return y
        """,
    ),
    _time(
        "compute for ever and ignore every signal",
        """
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        def forward(y, identity):
            while True: pass
        """,
    ),
    _time("stop itself", "os.kill(os.getpid(), signal.SIGSTOP)"),
    _time(
        "answer a byte at a time",
        """
        def forward(y, identity):
            for byte in struct.pack(">I", 1000) + b" " * 1000:
                os.write(answers().fileno(), bytes([byte])); time.sleep(0.02)
        """,
    ),
    _time(
        "print without end",
        """
        def forward(y, identity):
            while True: os.write(2, b"x" * 65536)
        """,
    ),
    _time(
        "hang when it is to end",
        """
        import atexit
        atexit.register(time.sleep, 60)
        threading.Thread(target=time.sleep, args=(60,)).start()
        """,
        outcome="ok",
        seconds=10,
    ),
    _time(
        "hang in an exception that describes itself",
        """
        class Slow(Exception):
            def __str__(self): time.sleep(60)
        def forward(y, identity): raise Slow
        """,
    ),
    _time(
        "be slow only the second time",
        """
        seen = set()
        def forward(y, identity):
            if identity in seen: time.sleep(60)
            seen.add(identity)
            return y
        """,
        outcome="nondeterministic",
        seconds=1.2,
        patience=3,
        levels=("landlock",),
        play=without_grace,
    ),
    _time(
        "close its pipes and live on",
        """
        def forward(y, identity):
            os.closerange(0, 100)
            time.sleep(60)
        """,
        outcome="crash",
        # bubblewrap itself keeps them open.
        outcomes={"bubblewrap": "timeout|crash"},
        seconds=4,
    ),
    _time(
        "turn its own clocks back",
        """
        real = time.sleep
        for name in ("time", "monotonic", "perf_counter", "process_time"):
            setattr(time, name, lambda: 0.0)
        from challenge.submissions.inference import messages, runner
        def write(stream, header, payload=b"", real=messages.write):
            real(stream, {**header, "seconds": 0.0, "start_up": 0.0}, payload)
        messages.write = write
        def forward(y, identity):
            real(0.25)
            return y
        """,
        evidence=seconds_forged,
        outcome="ok",
        seconds=20,
    ),
    _time(
        "compute on more processors than allowed",
        """
        def wide():
            if len(os.sched_getaffinity(0)) <= 1:
                raise OSError("only one")
        attempt(wide)
        """,
        evidence=claimed,
        unproven="there may be one processor only",
        outcome="ok",
        controls=("processors",),
        seconds=20,
    ),
]
