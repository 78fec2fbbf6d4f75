"""Cheating: a score that cannot be had again is none, and nothing is left for the next run."""

from __future__ import annotations

from dataclasses import replace

from challenge.submissions.inference import repeat

from .attack import ALL, EITHER, JAILED, Arena, Attack, Ran, claimed, never, said


def _cheat(name: str, source: str, **more: object) -> Attack:
    more = {
        "evidence": never,
        "stopped": ALL,
        "outcome": "nondeterministic",
        "levels": EITHER,
        **more,
    }
    return Attack(name, source, **more)  # type: ignore[arg-type]


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
        # All of it counts: the clock runs from spawn to the last saved reconstruction.
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


def _contract(arena: Arena, attack: Attack) -> Ran:
    from challenge.submissions.inference import supervisor

    entry, output = arena.write(attack.source), arena.folder / "output"
    asked = {"channels": 3, "boundary": "circular"}
    limits = arena.limits(attack.seconds)
    found = supervisor.infer(entry, arena.sources, output, limits, arena.jail(), contract=asked)
    assert found.broken == () or found.outcome == "ok"
    return Ran(found, 0, {}, b"", 0)
