"""One thread for the tests: their tensors are tiny, and two threads would wait for each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(1)
