from .entries.load import load as load
from .judging.trial import infer as infer
from .judging.trial import score as score
from .runs.log import curve as curve
from .runs.train import train as train
from .scoring.metrics import psnr as psnr
from .scoring.metrics import ssim as ssim

__all__ = ["curve", "infer", "load", "psnr", "score", "ssim", "train"]
