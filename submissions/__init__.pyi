from .entries.load import load as load
from .scoring.metrics import psnr as psnr
from .scoring.metrics import ssim as ssim

__all__ = ["load", "psnr", "ssim"]
