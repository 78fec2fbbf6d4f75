"""Disk: what is written counts, and all of it is removed."""

from __future__ import annotations

import functools

from .attack import ALL, EITHER, JAILED, QUOTA, ROOT, Attack, changed, claimed, never

OVER = QUOTA + 2**20


_disk = functools.partial(Attack, evidence=never, stopped=ALL, levels=EITHER)


RESERVE = f"""
def reserve(name, size={OVER // 3}):
    place = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.posix_fallocate(place, 0, size)
    return place
"""

ATTACKS = [
    _disk(
        "write a file over the quota",
        f"""
        def write():
            with open("large", "wb") as file: file.truncate({OVER})
        attempt(write)
        """,
        evidence=claimed,
        controls=("quota",),
    ),
    _disk(
        "write many files over the quota",
        RESERVE
        + """
for number in range(4): reserve(str(number))
time.sleep(10)
""",
        outcome="import_error|crash",
    ),
    _disk(
        "write thousands of files",
        """
        for number in range(4500): os.close(os.open(str(number), os.O_CREAT))
        time.sleep(10)
        """,
        outcome="import_error|crash",
    ),
    _disk(
        "write files that are large and empty",
        """
        for number in range(100):
            with open(str(number), "wb") as file: file.truncate(10_000_000)
        """,
    ),
    _disk(
        "write files without a name",
        RESERVE
        + """
def hide():
    kept = []
    for number in range(4):
        kept.append(reserve(str(number)))
        os.unlink(str(number))
    time.sleep(2)
    return sum(os.fstat(each).st_blocks for each in kept)
attempt(hide)
""",
        evidence=claimed,
        outcome="import_error|crash",
    ),
    _disk(
        "write files that only the memory's map knows",
        RESERVE
        + """
def hide():
    kept = []
    for number in range(4):
        place = reserve(str(number))
        kept.append(mmap.mmap(place, 4096))
        os.close(place)
        os.unlink(str(number))
    time.sleep(2)
attempt(hide)
""",
        evidence=claimed,
        outcome="import_error|crash",
    ),
    _disk(
        "nest folders deeper than any path",
        """
        for _ in range(3000):
            os.mkdir("d"); os.chdir("d")
        """,
        # Whether it is seen before it ends is chance: what lies so deep cannot be counted.
        outcome="ok|crash|import_error",
    ),
    _disk(
        "hide files at the bottom of deep folders",
        RESERVE
        + """
def hide():
    for _ in range(300):
        os.mkdir("d" * 200); os.chdir("d" * 200)
    for number in range(4): reserve(str(number))
    time.sleep(2)
attempt(hide)
""",
        evidence=claimed,
        outcome="import_error|crash",
    ),
    _disk(
        "hide files in folders that cannot be read",
        RESERVE
        + """
def hide():
    os.mkdir("d", 0o300)
    for number in range(4): reserve(f"d/{number}")
    time.sleep(2)
attempt(hide)
""",
        evidence=claimed,
        outcome="import_error|crash",
    ),
    _disk(
        "leave folders that cannot be read",
        """
        os.mkdir("a"); os.mkdir("a/b"); open("a/b/c", "w").close(); os.mkdir("a/b/d", 0)
        os.close(os.open("a/e", os.O_CREAT, 0))
        if F.level == "process": os.chmod("a/b", 0); os.chmod("a", 0)
        """,
        # A supervisor that is not root cannot look into them, and so does not let them pass.
        outcome="ok" if ROOT else "ok|import_error|crash",
    ),
    _disk(
        "leave names of 255 bytes that are no text",
        r"""
        for number in range(500):
            os.close(os.open(b"\xff\n\x1b" + b"%252d" % number, os.O_CREAT))
        """,
    ),
    _disk(
        "leave links that lead out",
        # Whoever cleans up must not follow them.
        """
        def link():
            os.symlink(F.workspace, "out"); os.symlink(".", "loop"); os.symlink(F.home, "home")
            os.mkdir("inner"); os.symlink(F.outside, "inner/out")
        attempt(link)
        """,
        evidence=changed("workspace"),
    ),
    _disk(
        "reserve the disk without writing to it",
        # Gigabytes within milliseconds: whoever looks from time to time looks too late.
        "attempt(lambda: call(285, os.open('large', os.O_RDWR | os.O_CREAT), 0, 0, 1 << 20))",
        evidence=claimed,
        stopped=JAILED,
        levels=ALL,
        unproven="the file system may not have it",
    ),
    _disk(
        "reserve the disk by a command",
        # The file system has fallocate as an ioctl too: RESVSP, RESVSP64, ZERO_RANGE.
        """
        import fcntl
        def reserve():
            place = os.open("large", os.O_RDWR | os.O_CREAT)
            wanted = struct.pack("hhqqiI4i", 0, 0, 0, 1 << 20, 0, 0, 0, 0, 0, 0)
            for command in (0x40305828, 0x4030582A, 0x40305839):
                try:
                    fcntl.ioctl(place, command, wanted)
                except OSError as error:
                    said = error
                else:
                    return hex(command)
            raise said
        attempt(reserve)
        """,
        evidence=claimed,
        stopped=JAILED,
        levels=ALL,
        controls=("commands",),
        unproven="the file system may not have it",
    ),
    _disk(
        "hide files without a name in a thread with descriptors of its own",
        RESERVE
        + r"""
def hide():
    places = [reserve(str(number), 4096) for number in range(4)]
    for number in range(4): os.unlink(str(number))
    # clone(VM | FS | SIGHAND | THREAD | SYSVSEM), not FILES; the child pauses for ever.
    stack = mmap.mmap(-1, 65536)
    kept.append(stack)
    top = ctypes.addressof(ctypes.c_char.from_buffer(stack)) + 65536 - 64
    code = b"\xb8\x38\x00\x00\x00\xbf" + struct.pack("<I", 0x50B00)
    code += b"\x48\xbe" + struct.pack("<Q", top) + b"\x31\xd2\x4d\x31\xd2\x4d\x31\xc0\x0f\x05"
    code += b"\x85\xc0\x74\x01\xc3\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7"
    thread = machine_code(code)()
    if thread < 0:
        raise OSError(-thread, "clone")
    for place in places:
        os.posix_fallocate(place, 0, 6 << 20)
        os.close(place)
    time.sleep(2)
attempt(hide)
""",
        evidence=claimed,
        outcome="ok|import_error|crash",
    ),
    _disk(
        "hide files without a name from a supervisor that is not root",
        RESERVE
        + """
def hide():
    libc.prctl(4, 0, 0, 0, 0)
    for number in range(4):
        kept.append(reserve(str(number)))
        os.unlink(str(number))
    time.sleep(2)
attempt(hide)
""",
        evidence=claimed,
        outcome="ok|import_error|crash",
        stopped=JAILED,
        unproven="root looks into every process",
    ),
]
