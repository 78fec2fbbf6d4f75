"""Python source as a tree, without running it: what methods and entries are looked at by."""

from __future__ import annotations

import ast
import functools
import threading
import warnings
from typing import Any

_one_at_a_time = threading.RLock()
_parse = ast.parse  # noqa: TID251


def parse(source: bytes | str, filename: str = "<unknown>") -> ast.Module:
    """`ast.parse`, for threads too, and quiet about oddities of somebody's code.

    CPython 3.11 counts the depth of the tree for all threads together, and raises `SystemError`
    where a thread goes on while another one is inside; and filters of warnings are the process's.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as `ast.parse`.
    """
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _parse(source, filename)


def guard_threads() -> None:
    """Let one thread at a time use `ast.parse` from now on, whoever calls it in this process.

    NumPy reads the header of every array with `ast.literal_eval`, which does.
    """

    @functools.wraps(_parse)
    def guarded(*source: Any, **options: Any) -> Any:
        with _one_at_a_time:
            return _parse(*source, **options)

    vars(ast)["parse"] = guarded
