"""Import deepinv in half its time: the start-up of an entry counts against its limit.

torchvision imports torch's compiler for one function that only compiled models call. While
torchvision is being imported, a stand-in with that function takes the compiler's place; the
first call of it imports the real one.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo.utils"


def import_deepinv() -> None:
    """Import torch, torchvision and deepinv."""
    import torch  # noqa: F401

    if "torchvision" not in sys.modules and _COMPILER not in sys.modules:
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
    import deepinv  # noqa: F401


def _is_compile_supported(*arguments: Any) -> Any:
    from torch._dynamo.utils import is_compile_supported

    return is_compile_supported(*arguments)
