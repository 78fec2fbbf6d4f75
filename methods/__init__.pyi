from .contract import Method as Method
from .contract_test import check as check
from .contract_test import toy_problem as toy_problem
from .registry import build as build
from .training.loop import supervised as supervised
from .transforms.noise_level import noise_level as noise_level

__all__ = ["Method", "build", "check", "noise_level", "supervised", "toy_problem"]
