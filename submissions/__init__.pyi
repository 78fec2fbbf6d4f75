from .scoring.metrics import psnr as psnr
from .scoring.metrics import ssim as ssim

__all__ = ["psnr", "ssim"]
