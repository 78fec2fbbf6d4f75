"""What two entries have in common, however one of them is dressed. Free of torch and numpy.

What is compared is made by `fingerprint`; what looks alike without being equal is not found.
"""

from __future__ import annotations

from challenge.configs.schema.section import Section

SMALL = 1024
"""Bytes: fewer may be equal by chance, such as one step length of 1."""
MOST = 0.9
"""Of the bytes of both: so much in equal tensors makes weights the same."""


class Likeness(Section):
    """Of one entry."""

    weights: dict[str, int] = {}
    """Bytes of the largest tensors by their hashes; equal tensors count together."""
    code: str = ""
    """Hash of the team's Python files; empty where it has none."""
    method: str = ""
    """Hash of the method's settings, and of its name where it is the toolkit's."""


def common(first: Likeness, second: Likeness) -> str:
    """What two entries share, in words that go on after "the same"; empty where it is nothing.

    The same code alone is none: teams may begin with the same template.
    """
    code = "code" if first.code else "method"
    same_code = (first.code, first.method) == (second.code, second.method)
    larger = max(sum(each.weights.values()) for each in (first, second))
    equal = first.weights.keys() & second.weights.keys()
    shared = sum(min(first.weights[each], second.weights[each]) for each in equal)
    if shared < MOST * larger or not (same_code or larger >= SMALL):
        return ""
    if not larger:
        return f"{code} and settings" if first.method else ""
    return f"weights and {code}" if same_code else "weights"
