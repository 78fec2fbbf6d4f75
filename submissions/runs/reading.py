"""What a team's code reads while it is imported and built: the judge has no such files.

A file beside the method is not in the entry, a download not there, and neither is found out before
the first image is reconstructed. So the opening of files is watched while a method is built.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from challenge.configs.errors import UserError
from challenge.methods import plugin, registry

WEIGHTS = {".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".npz", ".npy", ".h5", ".mat", ".pkl"}
"""Endings of files that hold weights, wherever they are."""
CODE = {".py", ".pyc", ".pyi", ".so", ".yaml"}
_found: list[str] | None = None
"""Where what is opened is noted; None: nobody watches."""
_hooked = False


@contextmanager
def refused(folders: Sequence[Path], name: str) -> Iterator[None]:
    """Refuse a method whose file or constructor reads a file while the block builds it.

    Args:
        folders: all files in these are meant, elsewhere only those of weights.
        name: of the method, for the message.

    Raises:
        UserError: it read one, or went to the network; in place of the error that this led to.
    """
    global _found
    _hook()
    before, _found = _found, []
    try:
        with _safetensors():
            yield
    except Exception:
        _refuse(_found, folders, name)
        raise
    finally:
        opened, _found = _found, before
    _refuse(opened, folders, name)


@contextmanager
def watched(name: str, base: Path) -> Iterator[list[Path]]:
    """Refuse what a method that is not the toolkit's reads meanwhile; its folder, if it has one.

    Args:
        name: `method.name`.
        base: the folder of its config.
    """
    beside = []
    if plugin.is_plugin(name):
        beside = [plugin.locate(name, base)[0].parent]
    with nullcontext() if name in registry.METHODS else refused([*beside, base], name):
        yield beside


def _refuse(opened: Sequence[str], folders: Sequence[Path], name: str) -> None:
    if found := next((each for each in opened if _is_data(each, folders)), None):
        raise UserError.of(
            f"`{name}`",
            f"reads {found} while it is imported or built, which the judge does not have",
            "name the file in a knob of the constructor, and load it in `fit`: "
            "`session.load_weights(self.net, self.start)`",
        ) from None


def _is_data(text: str, folders: Sequence[Path]) -> bool:
    if text == _NETWORK:
        return True
    path = Path(text.strip("`")).absolute()
    if path.suffix in CODE or path.is_dir() or _of_python(path):
        return False
    if path.suffix in WEIGHTS:
        return True
    # Python asks for names that are no files, and tools keep theirs in hidden folders.
    inside = [
        path.relative_to(each) for each in map(Path.absolute, folders) if each in path.parents
    ]
    return path.is_file() and any(not plugin.is_hidden(each) for each in inside)


_NETWORK = "from the network"


def _of_python(path: Path) -> bool:
    """Whether a file belongs to Python or to an installed package, or to the system's devices."""
    homes = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    homes |= {sys.base_prefix + "/lib", "/dev", "/proc", "/sys"}
    return any(path.is_relative_to(home) for home in homes)


def _hook() -> None:
    """Python tells of every file that it opens; a hook stays for good, so it is set once."""
    global _hooked
    if _hooked:
        return
    _hooked = True

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if _found is None:
            return
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            _found.append(f"`{os.fsdecode(arguments[0])}`")
        elif event in ("socket.connect", "socket.getaddrinfo"):
            _found.append(_NETWORK)

    sys.addaudithook(note)


@contextmanager
def _safetensors() -> Iterator[None]:
    """Note what safetensors opens, which it does without telling Python."""
    import safetensors
    import safetensors.torch

    def noting(read: Callable[..., Any]) -> Callable[..., Any]:
        def call(filename: Any, *arguments: Any, **options: Any) -> Any:
            if _found is not None:
                _found.append(f"`{os.fsdecode(filename)}`")
            return read(filename, *arguments, **options)

        return call

    with (
        mock.patch.object(safetensors, "safe_open", noting(safetensors.safe_open)),
        mock.patch.object(safetensors.torch, "safe_open", noting(safetensors.safe_open)),
        mock.patch.object(safetensors.torch, "load_file", noting(safetensors.torch.load_file)),
    ):
        yield
