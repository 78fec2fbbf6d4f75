"""Every denoiser takes images that are smaller than its network's stride."""

from pathlib import Path

import pytest
import torch

from challenge.methods import from_source, registry
from challenge.methods.plug_and_play.denoisers import denoise

SMALL = {
    "dncnn": {"width": 4, "depth": 3},
    "drunet": {"width": 4, "depth": 3, "blocks": 1, "shuffle": 2},
    "ffdnet": {"width": 4, "depth": 3},
    "gsdrunet": {"width": 4, "depth": 3, "blocks": 1, "shuffle": 2},
    "lipschitz": {"width": 4, "blocks": 1, "shuffle": 4},
    "tv": {"weight": "usual", "iterations": 2},
}
DENOISERS = [name for name in registry.METHODS if from_source.operators(name) == ("identity",)]


@pytest.mark.parametrize("name", [*DENOISERS, "tv"])
def test_an_image_smaller_than_the_stride_is_denoised(name):
    torch.manual_seed(0)
    method = registry.build({"name": name, **SMALL.get(name, {})}, Path()).eval()
    for size in ((1, 1), (3, 5), (2, 9)):
        x = torch.rand(2, 3, *size)
        with torch.no_grad():
            found = denoise(method, x, 0.1)
        assert found.shape == x.shape
        assert found.isfinite().all()
