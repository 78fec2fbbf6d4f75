"""Files: what may not be read, and what may not be changed."""

from __future__ import annotations

import functools
import hashlib
import os
import sys

from challenge.configs.schema.challenge import Rules
from challenge.submissions.entries import packages
from challenge.submissions.jail import libraries, places, readable

from .attack import ALL, ROOT, Arena, Attack, Ran, changed, claimed, leaked, said, state

NEEDS_ROOT = "" if ROOT else "needs root"
_PICTURE = next((each for each in places.pictures() if each.endswith(".png")), "")
FLAGS_SET = """
import fcntl
def setting(path, flags, extra=0):
    with open(path) as file:
        found = struct.unpack("i", fcntl.ioctl(file, 0x80086601, b"\\0" * 4))[0]
        fcntl.ioctl(file, 0x40086602, struct.pack("i", found | flags))
"""


def picture_read(_: Arena, ran: Ran) -> bool:
    with open(_PICTURE, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest() in ran.found.log


def _of_the_system() -> list[str]:
    """Files that no library of Python needs, one for each folder of the system."""
    folders = ("/usr/share", "/usr/include", "/usr/lib", "/usr/libexec", "/usr/src", "/opt", "/etc")
    folders += (sys.base_prefix + "/share", sys.base_prefix + "/include")
    found = []
    for folder in folders:
        for parent, _, names in os.walk(folder):
            paths = (os.path.join(parent, each) for each in sorted(names) if ".so" not in each)
            first = next((each for each in paths if not _of_python(each)), None)
            if first:
                found.append(first)
                break
    return found


def _with_libraries(arena: Arena) -> None:
    """The folder of the victim has libraries in it, and is named to the dynamic linker."""
    (arena.path("outside") / "libfine.so.1").touch()
    before = os.environ.get("LD_LIBRARY_PATH")

    def undo() -> None:
        os.environ.pop("LD_LIBRARY_PATH")
        if before is not None:
            os.environ["LD_LIBRARY_PATH"] = before
        forget()

    def forget() -> None:
        places.library_folders.cache_clear()
        readable.readable.cache_clear()

    os.environ["LD_LIBRARY_PATH"] = str(arena.path("outside"))
    arena.notes["undo"] = undo
    arena.notes["state of outside"] = state(arena.path("outside"))
    forget()


def _of_python(path: str) -> bool:
    roots = [os.path.realpath(each) + "/" for each in places.modules()]
    real = os.path.realpath(path)
    return real.startswith(tuple(roots)) or not os.path.isfile(real) or path == libraries.CACHE


def truth_moved(arena: Arena, ran: Ran) -> bool:
    return leaked(arena, ran) or not arena.path("truth").exists()


_reading = functools.partial(Attack, controls=("files",), evidence=leaked)


def _changing(name: str, source: str, what: str = "victim", **more: object) -> Attack:
    more = {"controls": ("files",), "evidence": changed(what), **more}
    return Attack(name, source, **more)  # type: ignore[arg-type]


ATTACKS = [
    _reading("read the hidden truth", "attempt(lambda: read(F.truth))"),
    _reading(
        "read it when an image comes, and hide it in the answer",
        """
        import numpy as np
        def forward(y, identity):
            found = y.copy()
            try:
                words = open(F.truth, "rb").read().split()[1]
                found.reshape(-1)[:8] = np.frombuffer(words, np.float32)
            except OSError:
                pass
            return found
        """,
    ),
    _reading("list the hidden folder", "attempt(lambda: os.listdir(F.hidden))"),
    _reading(
        "read the truth by a link in scratch",
        'attempt(lambda: os.symlink(F.truth, "link") or read("link"))',
    ),
    _reading(
        "read the truth by a hard link in scratch",
        'attempt(lambda: os.link(F.truth, "link") or read("link"))',
    ),
    _reading(
        "move the truth into scratch",
        'attempt(lambda: os.rename(F.truth, "moved") or read("moved"))',
        evidence=truth_moved,
    ),
    _reading(
        "read the truth by /proc/self/root", 'attempt(lambda: read("/proc/self/root" + F.truth))'
    ),
    _reading(
        "go to the hidden folder first",
        'attempt(lambda: os.chdir(F.hidden + "/test") or read("/proc/self/cwd/0001.png"))',
    ),
    _reading(
        "open by name only, then by descriptor",
        'attempt(lambda: read(f"/proc/self/fd/{os.open(F.truth, os.O_PATH)}"))',
    ),
    _reading(
        "let the kernel copy the truth into scratch",
        """
        def copy():
            source = os.open(F.truth, os.O_RDONLY)
            target = os.open("copy", os.O_RDWR | os.O_CREAT)
            os.sendfile(target, source, 0, 1000)
            return read("copy")
        attempt(copy)
        """,
    ),
    _reading(
        "open the truth by its handle",
        """
        def by_handle():
            handle = ctypes.create_string_buffer(struct.pack("Ii", 120, 0) + bytes(120))
            call(303, -100, F.truth.encode(), handle, ctypes.byref(ctypes.c_int()), 0)
            place = os.open("/", os.O_RDONLY)
            return os.read(call(304, place, handle, os.O_RDONLY), 1000)
        attempt(by_handle)
        """,
        controls=("files", "attributes", "privileges"),
        unproven=NEEDS_ROOT,
    ),
    _reading(
        "watch the hidden folder",
        """
        def watch():
            place = call(294, 0)
            return call(254, place, F.hidden.encode(), 0xfff)
        attempt(watch)
        """,
        controls=("attributes",),
        evidence=claimed,
    ),
    _reading(
        "be told of changes in the hidden folder by a signal",
        "import fcntl\n"
        "attempt(lambda: fcntl.fcntl(os.open(F.hidden, os.O_RDONLY), fcntl.F_NOTIFY, 0x3f))",
        evidence=claimed,
    ),
    _reading(
        "read another's environment",
        'attempt(lambda: read(f"/proc/{F.decoy}/environ"))',
    ),
    _reading(
        "read another's memory",
        """
        def memory():
            start, end = stack(F.decoy)
            with open(f"/proc/{F.decoy}/mem", "rb", 0) as file:
                file.seek(start)
                content = file.read(end - start)
            return content[content.index(b"SECRET_TOKEN"):][:60]
        attempt(memory)
        """,
    ),
    _reading(
        "read by a descriptor of the supervisor",
        """
        attempt(lambda: read(f"/proc/{F.supervisor}/fd/{F.opened}"))
        """,
        before=lambda arena: arena.facts.update(
            opened=arena.notes.setdefault("file", arena.path("truth").open()).fileno()
        ),
    ),
    _reading(
        "read the keys, the results and the entries of others",
        "for each in (F.ssh, F.results, F.zip): attempt(lambda: read(each))",
        evidence=lambda arena, ran: ran.found.log.count(arena.secret) == 3,
    ),
    _reading(
        "read the repository",
        'attempt(lambda: read(F.repository + "/pyproject.toml"))',
        evidence=said("[build-system]"),
    ),
    _reading(
        "read the truth of the practice challenge in scikit-image",
        f"""
        import hashlib
        attempt(lambda: hashlib.sha256(open({_PICTURE!r}, "rb").read()).hexdigest())
        """,
        evidence=picture_read,
    ),
    _reading(
        "read what lies beside Python in the folders of the system",
        "for each in F.system: attempt(lambda: read(each))",
        before=lambda arena: arena.facts.update(system=_of_the_system()),
        evidence=claimed,
    ),
    _reading(
        "read a picture in a folder of libraries",
        "attempt(lambda: read(F.victim))",
        before=_with_libraries,
    ),
    _reading(
        "import a package that the challenge does not permit, and read it",
        """
        import importlib
        attempt(lambda: importlib.import_module("iniconfig"))
        for folder in sys.path:
            if os.path.isdir(folder + "/iniconfig"):
                attempt(lambda: read(folder + "/iniconfig/__init__.py"))
                attempt(lambda: exec(read(folder + "/py.py"), {"__name__": "py"}))
        """,
        before=lambda arena: setattr(arena, "permitted", packages.readable(Rules())),
        evidence=claimed,
    ),
    _reading(
        "read secrets in the environment",
        'print("environment", dict(os.environ)); attempt(lambda: read("/proc/self/environ"))',
        stopped=ALL,
        controls=(),
    ),
    Attack(
        "learn by the command line where the hidden truth lies",
        'print(read("/proc/self/cmdline"), sys.orig_argv, sys.argv)\n'
        "frame = sys._getframe()\n"
        "while frame := frame.f_back: print(frame.f_locals)",
        # A word of the policy; the prelude of every attack names the workspace itself.
        evidence=said("excluded"),
        stopped=ALL,
    ),
    _changing(
        "write into its own entry",
        """
        attempt(lambda: open(F.entry + "/method.py", "a").write("# changed"))
        """,
        what="entry",
    ),
    _changing(
        "write into the toolkit's copy",
        """
        from challenge.submissions.inference import runner
        def write():
            with open(runner.__file__, "a") as file: file.write("# changed by an entry")
            return read(runner.__file__)[-20:]
        attempt(write)
        """,
        evidence=said("changed by an entry"),
    ),
    _changing("write a result", 'attempt(lambda: open(F.results, "w").write("{}"))', "workspace"),
    _changing("replace the truth", 'attempt(lambda: open(F.truth, "w").write("x"))', "workspace"),
    _changing("remove a file", "attempt(lambda: os.unlink(F.victim))"),
    _changing("cut a file", "attempt(lambda: os.truncate(F.victim, 0))",
              controls=("files", "attributes")),
    _changing("change a mode", "attempt(lambda: os.chmod(F.victim, 0o777))",
              controls=("attributes",)),
    _changing(
        "change an owner",
        "attempt(lambda: os.chown(F.victim, 12345, 12345))",
        controls=("attributes", "privileges"),
        unproven=NEEDS_ROOT,
    ),
    _changing("change a time", "attempt(lambda: os.utime(F.victim, (1, 1)))",
              controls=("attributes",)),
    _changing(
        "write an extended attribute",
        "attempt(lambda: os.setxattr(F.victim, 'user.note', b'for the next entry'))",
        controls=("attributes",),
        unproven="the file system may have none",
    ),
    _changing(
        "keep a note in the inode flags of its own entry",
        FLAGS_SET + "attempt(lambda: setting(F.entry + '/method.py', 0x40))",
        controls=("attributes",),
        evidence=lambda arena, _: _flags(str(arena.path("entry") / "method.py")) & 0x40 != 0,
        unproven="the file system may have none",
    ),
    _changing("make a device or pipe", 'attempt(lambda: os.mkfifo(F.outside + "/pipe"))',
              "outside", controls=("files", "attributes")),
    _changing(
        "mount over the hidden folder",
        'attempt(lambda: libc_call("mount", b"x", F.hidden.encode(), b"tmpfs", 0, None))',
        controls=("namespaces", "privileges"),
        evidence=claimed,
        harmful="as root it would really mount",
    ),
    _changing(
        "leave the root folder",
        'attempt(lambda: os.chroot(F.outside) or os.listdir("/"))',
        controls=("namespaces", "privileges"),
        evidence=claimed,
        unproven=NEEDS_ROOT,
        # Whatever it wants to import from now on is not there.
        outcomes={"process": "ok|crash|import_error"},
    ),
    Attack(
        "load a library written in scratch",
        # Allowed: code of an entry runs anyway, and gains nothing by being compiled.
        """
        import _ctypes, shutil
        shutil.copyfile(_ctypes.__file__, "own.so")
        attempt(lambda: ctypes.CDLL(os.path.abspath("own.so")))
        """,
        stopped=(),
    ),
]  # fmt: skip


def _flags(path: str) -> int:
    import fcntl
    import struct

    with open(path) as file:
        try:
            return int(struct.unpack("i", fcntl.ioctl(file, 0x80086601, b"\0" * 4))[0])
        except OSError:
            return 0
