"""The kernel: what outlives a process in it, and what changes the machine."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os

from challenge.submissions.jail import landlock

from .attack import ALL, EITHER, ROOT, Arena, Attack, Ran, any_or_all, claimed, leaked

NEEDS_ROOT = "" if ROOT else "needs root"
libc = ctypes.CDLL(None, use_errno=True)


class _Message(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_long), ("text", ctypes.c_char * 64))


def _queue(arena: Arena) -> None:
    """A message queue of the organiser's, with the secret in it."""
    number = libc.msgget(0, 0o1600)
    assert number >= 0
    message = _Message(1, arena.secret.encode())
    libc.msgsnd(number, ctypes.byref(message), 64, 0)
    arena.facts["queue"] = number
    arena.notes["undo"] = lambda: libc.msgctl(number, 0, None)


def _segment(arena: Arena) -> None:
    number = libc.shmget(0, 4096, 0o1600)
    assert number >= 0
    arena.facts["segment"] = number
    arena.notes["undo"] = lambda: libc.shmctl(number, 0, None)


def segment_gone(arena: Arena, _: Ran) -> bool:
    return bool(libc.shmctl(arena.facts["segment"], 2, ctypes.create_string_buffer(200)) != 0)


def _semaphore(arena: Arena) -> None:
    number = libc.semget(0, 1, 0o1600)
    assert number >= 0
    libc.semctl(number, 0, 16, 5)
    arena.facts["semaphore"] = number
    arena.notes["undo"] = lambda: libc.semctl(number, 0, 0)


def semaphore_changed(arena: Arena, _: Ran) -> bool:
    return bool(libc.semctl(arena.facts["semaphore"], 0, 12) != 5)


def _posix_queue(arena: Arena) -> None:
    name = f"/challenge-{arena.secret[:8]}".encode()
    place = libc.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, None)
    assert place >= 0
    os.close(place)
    arena.facts["posix_queue"] = name.decode()
    arena.notes["undo"] = lambda: libc.mq_unlink(name)


def posix_queue_gone(arena: Arena, _: Ran) -> bool:
    place = libc.mq_open(str(arena.facts["posix_queue"]).encode(), os.O_RDWR)
    with contextlib.suppress(OSError):
        os.close(place)
    return bool(place < 0)


_kernel = functools.partial(Attack, controls=("kernel",), evidence=claimed)


ATTACKS = [
    _kernel(
        "set a switch of the whole machine",
        # To what it is: nothing changes, but `core_pattern` is written in the same way.
        """
        def switch():
            value = read("/proc/sys/vm/swappiness")
            with open("/proc/sys/vm/swappiness", "w") as file: file.write(value)
        attempt(switch)
        """,
        controls=("files",),
        unproven=NEEDS_ROOT,
    ),
    _kernel(
        "keep a note in a key ring",
        "attempt(lambda: call(248, b'user', b'challenge-note', b'x', 1, -1))",
        unproven="the kernel may have none",
    ),
    _kernel("load a program into the kernel",
            "about = ctypes.create_string_buffer(struct.pack('IIII', 2, 4, 4, 1), 128)\n"
            "attempt(lambda: call(321, 0, about, 128))",
            controls=("kernel", "privileges"), unproven="the kernel may have none"),
    _kernel("read the kernel's log", "attempt(lambda: call(103, 10, 0, 0))",
            unproven=NEEDS_ROOT),
    _kernel(
        "count events of the machine",
        """
        about = struct.pack("IIQ", 1, 128, 0) + bytes(112)
        attempt(lambda: call(298, ctypes.create_string_buffer(about, 128), 0, -1, -1, 0))
        """,
        controls=("others",),
        unproven="the kernel may forbid it",
    ),
    _kernel("make memory of no process", "attempt(lambda: os.memfd_create('x'))",
            controls=("shared memory",)),
    _kernel(
        "make a segment of shared memory that stays",
        """
        def segment():
            number = call(29, 0, 4096, 0o1600)
            if F.level == "process":
                call(31, number, 0, 0)
            return number
        attempt(segment)
        """,
        controls=("shared memory",),
    ),
    _kernel(
        "read a message queue of the organiser",
        """
        found = ctypes.create_string_buffer(72)
        attempt(lambda: call(70, F.queue, found, 64, 0, 0o4000) and found.raw[8:40])
        """,
        controls=("shared memory",),
        evidence=leaked,
        before=_queue,
    ),
    _kernel(
        "remove shared memory of the organiser",
        "attempt(lambda: call(31, F.segment, 0, 0))",
        controls=("shared memory",),
        evidence=segment_gone,
        before=_segment,
    ),
    _kernel(
        "keep a number in a semaphore of the organiser",
        "attempt(lambda: call(66, F.semaphore, 0, 16, 9))",
        controls=("shared memory",),
        evidence=semaphore_changed,
        before=_semaphore,
    ),
    _kernel(
        "remove a message queue by its name",
        "attempt(lambda: libc_call('mq_unlink', F.posix_queue.encode()))",
        controls=("shared memory",),
        evidence=posix_queue_gone,
        before=_posix_queue,
    ),
    _kernel(
        "keep rules, filters and locks in the kernel",
        # Each as often as one likes: no limit counts them.
        """
        import fcntl
        def rules():
            made = call(444, struct.pack("=QQ", 1 << 12, 0), 8, 0)
            place = os.open(".", os.O_PATH)
            for _ in range(100): call(445, made, 1, struct.pack("=Qi", 1 << 12, place), 0)
            return made
        def locks():
            place = os.open("locked", os.O_RDWR | os.O_CREAT)
            kept.append(place)
            for number in range(1000): fcntl.lockf(place, fcntl.LOCK_EX, 1, 2 * (1000 - number))
        step = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
        program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(step))
        call(157, 38, 1, 0, 0, 0)
        attempt(rules)
        attempt(locks)
        if F.level == "process": attempt(lambda: call(446, rules(), 0))
        else: attempt(lambda: call(446, 3, 0))
        attempt(lambda: call(317, 1, 0, program))
        attempt(lambda: call(157, 22, 2, program, 0, 0))
        """,
        evidence=any_or_all,
        controls=("kernel", "commands"),
        unproven="" if landlock.version() else "the kernel has no Landlock",
    ),
    _kernel(
        "give each thread files of its own",
        # Each table may have as many as are allowed; all together hold gigabytes of the kernel.
        """
        attempt(lambda: call(436, 3000, 3001, 2))
        attempt(lambda: call(272, 0x400))
        """,
        evidence=any_or_all,
        controls=("processes", "namespaces"),
    ),
    _kernel(
        "keep thousands of timers",
        """
        def timers():
            for number in range(5000):
                call(222, 1, struct.pack("QiiQQ", 0, 0, 1, 0, 0) + bytes(64),
                     ctypes.byref(ctypes.c_int()))
            return number
        attempt(timers)
        """,
        controls=("memory",),
        stopped=ALL,
        levels=EITHER,
    ),
    _kernel(
        "use the rights of root",
        """
        def rights():
            effective = read("/proc/self/status").partition("CapEff:")[2].split()[0]
            if int(effective, 16) == 0:
                raise PermissionError("it has none")
            return effective
        attempt(rights)
        """,
        controls=("privileges",),
        unproven=NEEDS_ROOT,
    ),
    _kernel("become another user", "attempt(lambda: os.setuid(12345) or os.getuid())",
            controls=("privileges",), unproven=NEEDS_ROOT,
            outcomes={"process": "ok|crash|import_error"}),
]  # fmt: skip
