from .contract import Method as Method
from .contract_test import check as check
from .contract_test import toy_problem as toy_problem
from .registry import build as build
from .training.loop import supervised as supervised

__all__ = ["Method", "build", "check", "supervised", "toy_problem"]
