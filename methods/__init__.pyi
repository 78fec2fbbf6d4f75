from .contract import Method as Method
from .registry import build as build
from .training.loop import supervised as supervised

__all__ = ["Method", "build", "supervised"]
