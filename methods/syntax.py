"""Python source as a tree, without running it: what methods and entries are looked at by."""

from __future__ import annotations

import ast
import threading
import warnings

_one_at_a_time = threading.Lock()


def parse(source: bytes | str, filename: str = "<unknown>") -> ast.Module:
    """`ast.parse`, for threads too, and quiet about oddities of somebody's code.

    CPython 3.11 counts the depth of the tree for all threads together, and raises `SystemError`
    where a thread goes on while another one is inside; and filters of warnings are the process's.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as `ast.parse`.
    """
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source, filename)  # noqa: TID251
