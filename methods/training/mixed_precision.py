"""Lightning Fabric's mixed precision for reconstruction: networks in 16 bits, images in 32.

Lightning hands a model its inputs in 16 bits as well. In bfloat16 an image then has 8 bits: an
estimate is rounded by as much as a grey level of 255, and so is the truth it is compared with, so
that nothing can be learned of noise as small as that, and loss and gradient of all other noise
get this error on top. Autocast rounds what convolutions read by itself; data steps, differences
and the loss stay in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric.plugins.precision import MixedPrecision, Precision

from challenge.methods.training.precision import Named


class MixedNetworks(MixedPrecision):  # type: ignore[misc]
    """Autocast alone."""

    def convert_input(self, data: Any) -> Any:
        """Images, measurements and operators as they are."""
        return data


def plugin(named: Named, device: torch.device) -> Precision:
    """What Fabric is given as its precision.

    Args:
        named: as `precision.for_fabric` has it.
        device: on which the networks are.
    """
    return Precision() if named == "32-true" else MixedNetworks(named, device.type)
