"""The import statements of a Python file, read from its syntax tree."""

from __future__ import annotations

import ast
from dataclasses import dataclass

LONGEST = 80
"""Characters of a module's name that are shown or compared."""

_CATCHES = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


@dataclass(frozen=True)
class Import:
    """One module that a file cannot do without, as it is written there."""

    line: int
    level: int
    """Dots before the name; 0 is absolute."""
    module: str
    names: tuple[str, ...]
    """What is taken from the module; empty for `import module`."""

    def __str__(self) -> str:
        dotted = "." * self.level + self.module
        if not self.names:
            return f"import {dotted}"[:LONGEST]
        return f"from {dotted} import {', '.join(self.names[:3])}"[:LONGEST]


def needed(tree: ast.AST) -> list[Import]:
    """The imports of a file that fail when a module is not there, in the order of their lines.

    Left out is what the file does without: in a `try` that catches the error, under
    `TYPE_CHECKING`, or where the file is run as a program.
    """
    found: list[Import] = []
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found += [Import(node.lineno, 0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.append(Import(node.lineno, node.level, node.module or "", names))
        else:
            spared = {id(each) for each in _spared(node)}
            todo += [
                each
                for each in ast.iter_child_nodes(node)
                if isinstance(each, ast.stmt | ast.excepthandler | ast.match_case)
                and id(each) not in spared
            ]
    return sorted(found, key=lambda each: each.line)


def _spared(node: ast.AST) -> list[ast.stmt]:
    """The statements below this one whose imports may fail, or are never reached."""
    match node:
        case ast.Try(body=body, handlers=handlers) | ast.TryStar(body=body, handlers=handlers):
            kinds = [each.type for each in handlers]
            return body if any(kind is None or _words(kind) & _CATCHES for kind in kinds) else []
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__")), body=body):
            return body
        case ast.If(test=test, body=body):
            return body if "TYPE_CHECKING" in _words(test) else []
        case ast.With(items=items, body=body):
            calls = [each.context_expr for each in items]
            return body if any(_suppresses(call) for call in calls) else []
    return []


def _suppresses(call: ast.expr) -> bool:
    return (
        isinstance(call, ast.Call)
        and "suppress" in _words(call.func)
        and any(_words(each) & _CATCHES for each in call.args)
    )


def _words(node: ast.expr) -> set[str]:
    """The last words of a name, of `module.name`, or of a tuple of them."""
    if isinstance(node, ast.Tuple):
        return set().union(*(_words(each) for each in node.elts if not isinstance(each, ast.Tuple)))
    if isinstance(node, ast.Name):
        return {node.id}
    return {node.attr} if isinstance(node, ast.Attribute) else set()
