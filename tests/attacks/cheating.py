"""Cheating: a score that cannot be had again is none, and nothing is left for the next run."""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
from dataclasses import replace

from challenge.submissions.inference import repeat

from .attack import ALL, EITHER, JAILED, Arena, Attack, Ran, claimed, never, said

_cheat = functools.partial(
    Attack, evidence=never, stopped=ALL, outcome="nondeterministic", levels=EITHER
)


def repeated(arena: Arena, attack: Attack) -> Ran:
    """Judged as the verdict does it: some images again, in a fresh process."""
    ran = arena.judge(attack.source, attack.seconds)
    assert ran.found.outcome == "ok", ran.found
    again = repeat.repeat_images(
        arena.path("entry"),
        arena.sources,
        arena.folder / "output",
        arena.limits(attack.seconds),
        arena.jail(),
    )
    return replace(ran, found=again.applied_to(ran.found))


def twice(arena: Arena, attack: Attack) -> Ran:
    """Two entries, one after the other: what does the second one find?"""
    arena.judge(attack.source, attack.seconds, "first")
    # An own entry folder each: that of the first is not in the way of the second.
    for each in arena.path("entry").iterdir():
        if each.name == "method.py":
            each.unlink()
    arena.facts["second"] = True
    return arena.judge(attack.source, attack.seconds)


ATTACKS = [
    _cheat(
        "depend on what it saw before",
        """
        seen = []
        def forward(y, identity):
            seen.append(y)
            return y + 0.01 * len(seen)
        """,
    ),
    _cheat(
        "take its numbers from the system",
        """
        import numpy as np
        def forward(y, identity):
            return y + np.float32(struct.unpack("I", os.urandom(4))[0] / 2**32)
        """,
    ),
    _cheat(
        "be random, but the same for an image that it knows",
        """
        import numpy as np
        known = {}
        def forward(y, identity):
            noise = np.float32(struct.unpack("I", os.urandom(4))[0] / 2**32)
            return known.setdefault(identity, y + noise)
        """,
        play=repeated,
    ),
    _cheat(
        "depend on the time",
        """
        import numpy as np
        started = time.time_ns()
        def forward(y, identity):
            return y + np.float32(started % 1_000_003 / 1e6)
        """,
        play=repeated,
    ),
    _cheat(
        "depend on the order of images",
        """
        known = {}
        def forward(y, identity):
            return known.setdefault(identity, y + 0.01 * len(known))
        """,
        play=repeated,
    ),
    _cheat(
        "leave a note for the next process in scratch",
        """
        print("FOUND", [each for each in os.listdir(".") if each == "note"])
        open("note", "w").write("x")
        """,
        play=twice,
        evidence=said("FOUND ['note']"),
        outcome="ok",
    ),
    _cheat(
        "leave a note for the next process in its folder, or anywhere",
        """
        for folder in (F.entry, F.outside, "/dev/shm"):
            place = folder + "/note-" + str(F.supervisor)
            try:
                if F.__dict__.get("second"):
                    print("FOUND", read(place)); os.unlink(place)
                else:
                    open(place, "w").write("a note")
            except OSError as error:
                print("REFUSED", error)
        """,
        play=twice,
        evidence=said("FOUND a note"),
        outcome="ok",
        stopped=JAILED,
        levels=ALL,
        controls=("files",),
    ),
    _cheat(
        "change the toolkit for the next entry",
        """
        from challenge.submissions.inference import messages
        print("FOUND" if "CHANGED" in read(messages.__file__) else "nothing")
        attempt(lambda: open(messages.__file__, "a").write("# CHANGED"))
        """,
        play=twice,
        evidence=said("FOUND"),
        outcome="ok",
    ),
    _cheat(
        "patch the judge and numpy in its own process",
        """
        import numpy as np
        from challenge.data.physics import measurements
        from challenge.submissions.inference import messages, runner, supervisor
        supervisor.infer = supervisor._again = lambda *_, **__: None
        supervisor.SAME = 1e9
        np.abs = np.absolute = lambda x: x * 0
        def forward(y, identity): return y * np.float32("inf")
        """,
        whole_toolkit=True,
        outcome="non_finite",
    ),
    _cheat(
        "forge the report of the contract test",
        """
        from challenge.submissions.inference import runner
        runner.json = types.SimpleNamespace(dumps=lambda _: "[" * 100_000)
        """,
        play=lambda arena, attack: _contract(arena, attack),
        # The contract test is no part of the verdict: that it ends badly is a broken rule.
        outcome="ok",
    ),
    _cheat(
        "report a broken rule that is too deep to be shown",
        """
        from challenge.submissions.inference import runner
        runner.json = types.SimpleNamespace(dumps=lambda _: "[" * 940 + "]" * 940)
        """,
        play=lambda arena, attack: _contract(arena, attack),
        outcome="crash|ok",
    ),
    _cheat(
        "go on computing when it has answered",
        # All of it counts: the clock runs from spawn to the last reconstruction.
        """
        import numpy as np
        done = []
        def ahead(): time.sleep(0.3); done.append(1)
        def forward(y, identity):
            if identity == "0000" and not done:
                threading.Thread(target=ahead, daemon=True).start()
            else:
                while not done: time.sleep(0.01)
            return y
        """,
        evidence=lambda _, ran: ran.found.total < 0.3,
        outcome="ok",
    ),
    _cheat(
        "leave a note in an access time of what both can read",
        # Of a link: files and folders of the entry are read by this test, too.
        """
        seen = os.lstat(F.entry + "/link").st_atime
        print("FOUND a note" if seen > time.time() - 3600 else "nothing")
        read(F.entry + "/link")
        """,
        before=lambda arena: _old_link(arena),
        play=twice,
        evidence=said("FOUND a note"),
        outcome="ok",
        # Only what is mounted for reading keeps its times.
        stopped=("bubblewrap",),
        levels=ALL,
        unproven="the file system may keep no access times",
    ),
    _cheat(
        "see what the process before has read",
        """
        area = mmap.mmap(os.open(F.entry + "/data", os.O_RDONLY), 4096, mmap.MAP_PRIVATE)
        address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(area)))
        kept.append(area)
        place, page = os.open(F.entry + "/data", os.O_RDONLY), ctypes.create_string_buffer(4096)
        one = ctypes.create_string_buffer(struct.pack("PQ", ctypes.addressof(page), 4096))
        whole = ctypes.create_string_buffer(struct.pack("QQ", 0, 4096))
        attempt(lambda: call(27, address, ctypes.c_size_t(4096), page) or "mincore")
        attempt(lambda: call(327, place, one, 1, 0, 0, 8) and "preadv2")
        attempt(lambda: call(451, place, whole, page, 0) or "cachestat")
        """,
        before=lambda arena: _old_file(arena),
        evidence=claimed,
        outcome="ok",
        stopped=JAILED,
        levels=ALL,
        controls=("page cache",),
    ),
    _cheat(
        "leave a note for the next process in the page cache",
        """
        place = os.open(F.entry + "/data", os.O_RDONLY)
        attempt(lambda: call(221, place, ctypes.c_long(0), ctypes.c_size_t(1 << 20), 4))
        area = mmap.mmap(place, 1 << 20, mmap.MAP_PRIVATE)
        address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(area)))
        kept.append(area)
        attempt(lambda: call(28, address, ctypes.c_size_t(1 << 20), 21))
        """,
        before=lambda arena: _old_file(arena),
        evidence=lambda arena, _: not _in_memory(arena),
        outcome="ok",
        stopped=JAILED,
        levels=ALL,
        controls=("page cache",),
        unproven="the file system may lie in memory",
    ),
    _cheat(
        "write a better answer itself",
        """
        import numpy as np
        def forward(y, identity):
            attempt(lambda: np.save(F.output + "/0000.npy", np.zeros((1, 8, 8), np.float32)))
            return y
        """,
        before=lambda arena: arena.facts.update(output=str(arena.folder / "output")),
        stopped=JAILED,
        levels=ALL,
        evidence=claimed,
        controls=("files",),
        outcome="ok",
        outcomes={"process": "nondeterministic"},
    ),
]


def _old_file(arena: Arena) -> None:
    """A file of a megabyte that every process can read."""
    place = arena.path("entry") / "data"
    place.write_bytes(bytes(1 << 20))
    with place.open("rb") as file:
        os.fsync(file.fileno())


def _old_link(arena: Arena) -> None:
    """A link that nobody has followed for long."""
    place = arena.path("entry") / "link"
    place.symlink_to("method.py")
    os.utime(place, (1e9 + 1, 1e9), follow_symlinks=False)


def _in_memory(arena: Arena) -> bool:
    """Whether the system holds any of that file in memory, which does not change that."""
    with (arena.path("entry") / "data").open("rb") as file:
        area = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE)
    pages = ctypes.create_string_buffer(len(area) // mmap.PAGESIZE)
    begins = ctypes.c_char.from_buffer(area)
    address = ctypes.c_void_p(ctypes.addressof(begins))
    assert ctypes.CDLL(None).mincore(address, ctypes.c_size_t(len(area)), pages) == 0
    del begins
    area.close()
    return any(each & 1 for each in pages.raw)


def _contract(arena: Arena, attack: Attack) -> Ran:
    from challenge.submissions.inference import supervisor

    entry, output = arena.write(attack.source), arena.folder / "output"
    asked = {"channels": 3, "boundary": "circular"}
    limits = arena.limits(attack.seconds)
    found = supervisor.infer(entry, arena.sources, output, limits, arena.jail(), contract=asked)
    assert found.broken == () or found.outcome == "ok"
    return Ran(found, 0, {}, b"", 0)
