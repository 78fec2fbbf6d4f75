from .challenges.challenge import open_challenge as open_challenge
from .physics.problem import tensors as tensors

__all__ = ["open_challenge", "tensors"]
