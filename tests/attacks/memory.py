"""Memory: whatever it is made of, it counts, and the supervisor's own stays small."""

from __future__ import annotations

import functools

from .attack import ALL, EITHER, JAILED, Attack, any_or_all, claimed, never

LIMIT = 0.3


_memory = functools.partial(
    Attack,
    evidence=never,
    stopped=ALL,
    controls=("memory",),
    outcome="out_of_memory",
    memory_gb=LIMIT,
    levels=EITHER,
)


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
        controls=("commands",),
        outcome="ok",
        unproven="the kernel limits an ordinary user",
    ),
    _memory(
        "hold memory that no limit counts",
        """
        libc.mmap.restype = ctypes.c_void_p
        def mapped(size, flags):
            found = libc.mmap(None, ctypes.c_size_t(size), 3, flags, -1, ctypes.c_long(0))
            if found == ctypes.c_void_p(-1).value:
                raise OSError(ctypes.get_errno(), "mmap")
            return found
        def page_of_huge_one():
            # A pipe has 16 slots of a page; a page of a huge one keeps all 2 MB, unmapped or not.
            huge = 2 << 20
            area = mapped(2 * huge, 0x22)
            start = -(-area // huge) * huge
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(huge), 14)
            ctypes.memset(start, 1, huge)
            call(278, out, struct.pack("QQ", start, 4096), 1, 0)
            libc.munmap(ctypes.c_void_p(area), ctypes.c_size_t(2 * huge))
        into, out = os.pipe()
        other = os.pipe()[1]
        large = os.open("large", os.O_RDWR | os.O_CREAT)
        os.write(large, bytes(1 << 20))
        attempt(lambda: mapped(2 << 30, 0x22 | 0x100))  # MAP_GROWSDOWN: taken for a stack
        if F.level != "process":  # Not every machine has these.
            attempt(lambda: mapped(2 << 20, 0x44022))  # MAP_HUGETLB
            attempt(lambda: call(453, None, ctypes.c_size_t(1 << 20), 0))  # map_shadow_stack
        attempt(page_of_huge_one)
        attempt(lambda: os.sendfile(out, large, 0, 8192))
        attempt(lambda: call(275, large, None, out, None, 8192, 0))  # splice
        os.write(out, b"x")
        attempt(lambda: call(276, into, other, 1, 0))  # tee
        """,
        evidence=any_or_all,
        stopped=JAILED,
        levels=ALL,
        controls=("shared memory",),
        outcome="ok",
    ),
    _memory(
        "take memory by a stack that grows",
        """
        import resource
        def grow():
            hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
            resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))
            top = stack(os.getpid())[1]
            for depth in range(1, 200):
                ctypes.memset(top - (depth << 20), 1, 4096)
            return depth
        attempt(grow)
        """,
        evidence=claimed,
        outcome="import_error|crash",
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
