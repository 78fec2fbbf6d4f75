"""The config of a training that takes a second."""

from typing import Any


def small(steps: int, evaluate: int) -> dict[str, Any]:
    """A network of a few weights on `tiny`, for so many steps, evaluated after so many."""
    return {
        "challenge": "tiny",
        "name": "small",
        "method": {
            "name": "network",
            "net": {"width": 4, "depth": 1, "blocks": 1},
            "precision": "float32",
        },
        "train": {
            "steps": steps,
            "evaluate": evaluate,
            "patch": 32,
            "batch": 2,
            "precision": "float32",
        },
    }
