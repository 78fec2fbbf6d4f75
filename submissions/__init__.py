"""Runs, entries, the judge: what a notebook imports from here stays where it is.

    from challenge.submissions import train, infer, score, load, curve, psnr, ssim

A name is imported when it is used: checking an entry and showing the board need no torch. By the
standard library alone, not by lazy_loader: a jailed process imports this package before it has
any other on its path.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "curve": "runs.log",
    "infer": "judging.trial",
    "load": "entries.load",
    "psnr": "scoring.metrics",
    "score": "judging.trial",
    "ssim": "scoring.metrics",
    "train": "runs.train",
}
"""Where each name comes from; `__init__.pyi` says it to type checkers."""
__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
