"""Import deepinv in a third of its time, wherever it is imported first.

torchvision, which deepinv imports, imports torch's compiler for one function that only compiled
models call. While torchvision is being imported, a stand-in with that function takes the
compiler's place; the first call of it imports the real one.

A finder does it, in place of a function to be called before every `import deepinv`: the process
that judges an entry, a team's own file and a test all come here. Free of torch until deepinv is
asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo.utils"


class _Finder(MetaPathFinder):
    """Finds deepinv as Python does, and prepares its import, once.

    When it is imported, not when it is looked for: the supervisor asks where it lies.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname == "deepinv" else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def prepare_and_execute(module: ModuleType) -> None:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _import_torchvision()
            execute(module)

        spec.loader.exec_module = prepare_and_execute  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Make the first `import deepinv` of this process quick; nothing where it came before."""
    known = any(isinstance(each, _Finder) for each in sys.meta_path)
    if not known and "deepinv" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


def _import_torchvision() -> None:
    import torch  # noqa: F401

    if "torchvision" in sys.modules or _COMPILER in sys.modules:
        return
    stand_in = ModuleType(_COMPILER)
    stand_in.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    sys.modules[_COMPILER] = stand_in
    try:
        import torchvision  # type: ignore[import-untyped] # noqa: F401
    except (ImportError, AttributeError):
        # Another version wants more of the compiler: import it as it comes.
        for name in [each for each in sys.modules if each.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
    finally:
        if sys.modules.get(_COMPILER) is stand_in:
            del sys.modules[_COMPILER]


def _is_compile_supported(*arguments: Any) -> Any:
    from torch._dynamo.utils import is_compile_supported

    return is_compile_supported(*arguments)
