"""The loader of a team's own method: `my_team/method.py:Mine`, siblings importable as `.blocks`."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from challenge.configs.errors import UserError

if TYPE_CHECKING:
    from challenge.methods.contract import Method


def is_plugin(name: str) -> bool:
    """Whether a method's name is a file (`path/file.py` or `path/file.py:Class`), not a word."""
    return name.partition(":")[0].endswith(".py")


def locate(name: str, base: Path) -> tuple[Path, str]:
    """The file and the class name (may be empty) of a plugin; looked up in `base`, then here.

    Raises:
        UserError: there is no such file, or its name is not a Python identifier.
    """
    file_name, _, class_name = name.partition(":")
    tried = [base / file_name, Path(file_name)]
    for path in tried:
        if path.is_file():
            if not path.stem.isidentifier():
                raise UserError.of(
                    path, "its name cannot be imported", "use letters, digits and `_` only"
                )
            return path.resolve(), class_name
    places = " or ".join(f"`{path}`" for path in dict.fromkeys(tried))
    raise UserError.of(
        name, f"there is no file {places}", "give the path from here or from the config's folder"
    )


def files(entry: Path) -> list[Path]:
    """The Python files that belong to a plugin: all below its folder, hidden ones left out.

    Sorted, relative to the folder. Links are left out: they could lead anywhere.
    """
    folder = entry.parent
    found = []
    for path in folder.rglob("*.py"):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
        linked = any((folder / parent).is_symlink() for parent in [relative, *relative.parents])
        if not hidden and not linked:
            found.append(relative)
    return sorted(found)


def load(name: str, base: Path) -> type[Method]:
    """Import a team's file and return its method class. This runs the team's code.

    The folder becomes a package under a private name made from its path, so that two teams may
    both have a `method.py`, siblings import each other, and `sys.path` stays as it is.

    Raises:
        UserError: no such file, not Python, or not exactly one `Method` in it.
    """
    from challenge.methods.contract import Method

    path, class_name = locate(name, base)
    _tree(path)
    module = _import(path)
    found = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Method)
        and not inspect.isabstract(value)
        and value.__module__ == module.__name__
    }
    if class_name:
        if class_name in found:
            return found[class_name]
        known = ", ".join(f"`{key}`" for key in sorted(found)) or "none"
        raise UserError.of(path, f"has no method class `{class_name}`", f"its methods: {known}")
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise UserError.of(
            path,
            "defines no method",
            "write `class Mine(Method)` with a `forward(self, y, physics)`",
        )
    names = ", ".join(f"`{key}`" for key in sorted(found))
    raise UserError.of(
        path, f"defines {len(found)} methods: {names}", f"name one: `{name}:{min(found)}`"
    )


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{path}:{line}" if line else str(path)
        raise UserError.of(place, f"is not Python: {getattr(error, 'msg', error)}") from error


def _import(path: Path) -> ModuleType:
    folder = path.parent
    package = "challenge_plugin_" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    # A file that changed since it was imported (in a notebook) is imported anew.
    for name in [key for key in sys.modules if key == package or key.startswith(package + ".")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[package] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"{package}.{path.stem}")
