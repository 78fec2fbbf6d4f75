"""What is wrong with text that is not YAML, in words that do not need a parser's vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """Something in a text that is not accepted; `line` counts from 1, 0 is the whole file."""

    line: int
    cause: str
    remedy: str = ""


def explain(error: Any, lines: list[str]) -> Fault:
    """Put PyYAML's or libyaml's complaint about `lines` into words.

    Both describe the same places in different words, hence the short fragments looked for.

    Args:
        error: a `yaml.MarkedYAMLError`.
    """
    context, problem = error.context or "", error.problem or ""
    number, column = _mark(error.problem_mark, lines)
    text = lines[number - 1] if lines else ""
    indent = text[: len(text) - len(text.lstrip())]
    if "\t" in indent:
        return Fault(number, "a tab in the indentation", "indent with spaces")
    if "cannot start any token" in problem:
        character = text[column : column + 1].replace("`", "a backtick")
        return Fault(number, f"a value cannot begin with {character}", "put it in quotes")
    if "escape" in problem:
        remedy = "use single quotes, or `/` in a path"
        return Fault(number, "`\\` has a special meaning in double quotes", remedy)
    opened = _mark(error.context_mark, lines)[0] if error.context_mark else number
    if "quoted scalar" in context:
        return Fault(opened, "a quote is not closed")
    if "flow mapping" in context or "flow sequence" in context:
        left, right = "{}" if "mapping" in context else "[]"
        return Fault(opened, f"after `{left}` a `,` or the closing `{right}` is missing")
    if "expected ':'" in problem:
        return Fault(opened, "a key has no `:`", "write `key: value`")
    if "sequence entries" in problem:
        return Fault(number, "a list cannot begin here", "write it as `[a, b]`")
    if "node content" in problem:
        return Fault(number, f"a value is missing before `{text[column : column + 1]}`")
    if "mapping values" in problem:
        if text.count(": ") + text.rstrip().endswith(":") > 1:
            return Fault(number, "a second `: ` in one line", "put the value in quotes")
        remedy = "indent it like its neighbours, and see that the line above has its `:`"
        return Fault(number, "this line does not follow from the one above", remedy)
    if "block" in context and column <= len(indent):
        return Fault(number, "the indentation fits no line above", "indent it like its neighbours")
    if "block" in context:
        found = text[column:].strip()[:20]
        return Fault(number, f"`{found}` is not expected here", "put a value like this in quotes")
    return Fault(number, f"not valid YAML, {problem}")


def _mark(mark: Any, lines: list[str]) -> tuple[int, int]:
    """Line (from 1, at most the last one) and column (from 0) of a PyYAML mark."""
    return max(1, min(mark.line + 1, len(lines))), mark.column
