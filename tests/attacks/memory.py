"""Memory: whatever it is made of, it counts, and the supervisor's own stays small."""

from __future__ import annotations

from .attack import ALL, EITHER, JAILED, Attack, claimed, never

LIMIT = 0.3


def _memory(name: str, source: str, **more: object) -> Attack:
    more = {
        "evidence": never,
        "stopped": ALL,
        "controls": ("memory",),
        "outcome": "out_of_memory",
        "memory_gb": LIMIT,
        "levels": EITHER,
        **more,
    }
    return Attack(name, source, **more)  # type: ignore[arg-type]


ATTACKS = [
    _memory("allocate at import", "hoard = bytearray(2_000_000_000)"),
    _memory(
        "allocate when an image comes",
        """
        import numpy as np
        def forward(y, identity):
            return np.ones(10**10, np.float32)
        """,
    ),
    _memory(
        "touch memory that was reserved",
        """
        import numpy as np
        def forward(y, identity):
            hoard = np.ones(60_000_000)
            time.sleep(20)
            return y
        """,
    ),
    _memory(
        "touch shared memory",
        """
        hoard = mmap.mmap(-1, 600_000_000)
        for _ in range(60): hoard.write(b"x" * 10_000_000)
        time.sleep(20)
        """,
    ),
    _memory(
        "grow slowly",
        """
        hoard = []
        while True:
            hoard.append(b"x" * 40_000_000)
            time.sleep(0.02)
        """,
    ),
    _memory(
        "peak for a moment",
        """
        import numpy as np
        def forward(y, identity):
            np.ones(45_000_000)
            return y
        """,
    ),
    _memory(
        "hide memory in a file without a name",
        """
        def hide():
            kept = [os.memfd_create(str(number)) for number in range(30)]
            for each in kept: os.posix_fallocate(each, 0, 12_000_000)
            time.sleep(0.3)
        attempt(hide)
        """,
        evidence=claimed,
        # At the level `process` it can be made, and counts as a file that has no name.
        levels=ALL,
        controls=("shared memory",),
        outcome="ok|crash|import_error",
    ),
    _memory(
        "hide memory in pipes",
        """
        import fcntl
        def hide():
            held, kept = 0, []
            for _ in range(250):
                kept.append(os.pipe())
                os.set_blocking(kept[-1][1], False)
                fcntl.fcntl(kept[-1][1], 1031, 1 << 20)
                held += os.write(kept[-1][1], bytes(1 << 20))
            return held
        attempt(hide)
        """,
        evidence=claimed,
        stopped=JAILED,
        levels=ALL,
        controls=("privileges",),
        outcome="ok",
        unproven="the kernel limits an ordinary user",
    ),
    _memory(
        "hide memory in the stacks of threads",
        """
        def many():
            threading.stack_size(64 << 20)
            wait = threading.Event()
            for _ in range(100):
                try:
                    threading.Thread(target=wait.wait, daemon=True).start()
                except RuntimeError as error:
                    raise MemoryError(error)
        attempt(many)
        """,
        evidence=claimed,
        outcome="ok",
    ),
    _memory(
        "start thousands of threads",
        """
        def many():
            threading.stack_size(64 << 10)
            wait = threading.Event()
            for _ in range(3000):
                try:
                    threading.Thread(target=wait.wait, daemon=True).start()
                except RuntimeError as error:
                    raise MemoryError(error)
            time.sleep(3)
        attempt(many)
        """,
        evidence=claimed,
        outcome="crash|import_error|out_of_memory",
        controls=(),
        memory_gb=1.0,
    ),
    _memory(
        "open more files than allowed",
        """
        def many():
            kept = [open("/dev/null") for _ in range(600)]
        attempt(many)
        """,
        evidence=claimed,
        controls=("quota",),
        outcome="ok",
    ),
]
