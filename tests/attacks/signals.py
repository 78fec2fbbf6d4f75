"""Signals and settings: no other process is stopped, killed, slowed or limited."""

from __future__ import annotations

import functools

import psutil

from .attack import Arena, Attack, Ran, claimed


def hit(arena: Arena, _: Ran) -> bool:
    """The decoy is dead or stopped."""
    return not arena.decoy_is_well()


_signal = functools.partial(Attack, controls=("signals",), evidence=hit, harms_decoy=True)


def niceness(arena: Arena, _: Ran) -> bool:
    return psutil.Process(arena.decoy.pid).nice() != arena.notes["nice"]


def files_limited(arena: Arena, _: Ran) -> bool:
    return psutil.Process(arena.decoy.pid).rlimit(psutil.RLIMIT_NOFILE)[0] == 3


def _remember(arena: Arena) -> None:
    arena.notes["nice"] = psutil.Process(arena.decoy.pid).nice()


ATTACKS = [
    _signal("kill another process", "attempt(lambda: os.kill(F.decoy, 9))"),
    _signal("stop another process", "attempt(lambda: os.kill(F.decoy, signal.SIGSTOP))"),
    _signal("kill a group of processes", "attempt(lambda: os.killpg(F.decoy, 9))"),
    # Signal 0 asks only whether it could; all the machine's processes would be hit.
    _signal("signal everybody", "attempt(lambda: os.kill(-1, 0))", evidence=claimed,
            harms_decoy=False),
    _signal("signal the supervisor", "attempt(lambda: os.kill(F.supervisor, 0))", evidence=claimed,
            harms_decoy=False),
    _signal("signal another's thread", "attempt(lambda: call(234, F.decoy, F.decoy, 9))"),
    _signal(
        "signal with a value",
        "attempt(lambda: call(129, F.decoy, 15, struct.pack('iii', 15, 0, -1) + bytes(116)))",
    ),
    _signal("signal by a descriptor",
            "attempt(lambda: call(424, call(434, F.decoy, 0), 9, None, 0))"),
    _signal(
        "let a pipe send the signal",
        """
        import fcntl
        def by_pipe():
            into, out = os.pipe()
            fcntl.fcntl(into, 10, 9)
            fcntl.fcntl(into, fcntl.F_SETOWN, F.decoy)
            fcntl.fcntl(into, fcntl.F_SETFL, fcntl.fcntl(into, fcntl.F_GETFL) | os.O_ASYNC)
            os.write(out, b"x")
        attempt(by_pipe)
        """,
        controls=("commands",),
    ),
    _signal(
        "undo the signal at the supervisor's death",
        """
        def undo():
            libc_call("prctl", 1, 0, 0, 0, 0)
            found = ctypes.c_int(-1)
            libc.prctl(2, ctypes.byref(found), 0, 0, 0)
            if found.value:
                raise OSError("without effect")
        attempt(undo)
        """,
        evidence=claimed,
        harms_decoy=False,
        controls=("commands",),
    ),
    Attack("slow another process", "attempt(lambda: os.setpriority(os.PRIO_PROCESS, F.decoy, 19))",
           niceness, controls=("others",), before=_remember),
    Attack(
        "limit another process",
        "import resource\n"
        "attempt(lambda: resource.prlimit(F.decoy, resource.RLIMIT_NOFILE, (3, 3)))",
        files_limited,
        controls=("others",),
    ),
    Attack(
        "lift its own limits",
        """
        import resource
        for each in ("CPU", "DATA", "FSIZE", "NOFILE"):
            attempt(lambda: resource.setrlimit(getattr(resource, f"RLIMIT_{each}"), (-1, -1)))
        """,
        controls=("privileges", "memory", "quota", "processor time"),
        unproven="it needs the right to, which root may not have either",
    ),
    Attack(
        "choose its own processors",
        """
        def choose():
            chosen = {*range(os.cpu_count())} - os.sched_getaffinity(0)
            os.sched_setaffinity(0, chosen)
            if os.sched_getaffinity(0) != chosen:
                raise OSError("without effect")
        attempt(choose)
        """,
        controls=("affinity", "processors"),
        unproven="" if len(psutil.Process().cpu_affinity() or []) > 1 else "there is only one",
    ),
    Attack(
        "be the last to die for want of memory",
        """
        def stay():
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write("0")
            return read("/proc/self/oom_score_adj")
        attempt(stay)
        """,
        lambda _, ran: "DID 0" in ran.found.log,
        controls=("out of memory first", "files"),
    ),
]  # fmt: skip
