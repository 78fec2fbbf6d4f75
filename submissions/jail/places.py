"""Where Python, its packages and its libraries lie on this machine.

An entry reads these and nothing else of the system: not the folders around them, `/usr` and the
prefix of an environment among them, which may hold anything.
"""

from __future__ import annotations

import functools
import glob
import os
import sys
from pathlib import Path

from challenge.submissions.jail import libraries

PACKAGES = ("site-packages", "dist-packages")
"""What folders of installed packages are called; that of Python itself lies in its library."""


@functools.cache
def packages() -> tuple[str, ...]:
    """The folders with installed packages, in the order in which Python looks."""
    found = [each for each in sys.path if Path(each).name in PACKAGES and Path(each).is_dir()]
    return tuple(dict.fromkeys(found))


@functools.cache
def standard_library() -> tuple[str, ...]:
    """The folders and archives with Python's own modules."""
    base = os.path.realpath(sys.base_prefix)
    home = os.path.dirname(os.__file__)
    found = [home]
    compiled = [each for each in sys.path if Path(each).name == "lib-dynload"]
    found += [each for each in compiled if not each.startswith(home + os.sep)]
    zipped = [each for each in sys.path if each.endswith(".zip")]
    found += [each for each in zipped if os.path.realpath(each).startswith(base + os.sep)]
    return tuple(each for each in dict.fromkeys(found) if os.path.exists(each))


def modules() -> tuple[str, ...]:
    """The folders and archives in which Python looks for modules."""
    return (*standard_library(), *packages())


@functools.cache
def library_folders() -> tuple[str, ...]:
    """Folders in which Python's and its packages' shared objects lie, beside anything else."""
    prefixes = (sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix))
    found = [os.path.join(prefix, part) for prefix in prefixes for part in ("lib", "lib64")]
    found += filter(os.path.isabs, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    return tuple(each for each in dict.fromkeys(found) if any(libraries.shared_objects(each)))


@functools.cache
def needed_to_start() -> tuple[str, ...]:
    """What the interpreter is started from, read before any code of an entry runs."""
    found = [sys.executable, os.path.realpath(sys.executable)]
    found += [os.path.join(sys.prefix, "pyvenv.cfg"), libraries.CACHE, "/etc/alternatives"]
    found += glob.glob("/lib*/ld-*.so*")
    return tuple(each for each in dict.fromkeys(found) if os.path.exists(each))


@functools.cache
def pictures() -> tuple[str, ...]:
    """scikit-image's packaged pictures: they are the truth of the practice challenge."""
    kept = {".py", ".pyi", ".txt"}
    folders = [os.path.realpath(os.path.join(each, "skimage", "data")) for each in packages()]
    return tuple(
        str(path)
        for folder in sorted({*folders})
        for path in sorted(Path(folder).glob("*"))
        if path.is_file() and path.suffix not in kept
    )
