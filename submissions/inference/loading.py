"""From a run's or an entry's folder to a method with its weights. This runs the team's code.

And what that imports, compiled beforehand.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from challenge.configs.errors import UserError
from challenge.submissions.layout import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from challenge.methods.contract import Method


def load_folder(folder: Path) -> Method:
    """Build the method of a folder with `config.yaml` and `weights.safetensors`, in eval mode.

    Raises:
        UserError: the config is wrong, or the weights do not fit the method.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from challenge.configs.loader import load_entry
    from challenge.methods import registry

    config, _ = load_entry(str(folder / CONFIG))
    method = registry.build(config.method, folder)
    weights = folder / WEIGHTS
    try:
        method.load_state_dict(load_file(weights))
    except (OSError, SafetensorError) as error:
        raise UserError.of(weights, f"cannot be read ({error})", "train the run again") from error
    except RuntimeError as error:
        text = " ".join(str(error).split())[:500]
        raise UserError.of(
            weights, f"does not fit the method: {text}", "train the run again"
        ) from error
    method.eval()
    return method


_IMPORTED = ("numpy", "torch", "torchvision", "scipy", "deepinv")
"""What an inference process spends most of its start on. One that was installed anew has nothing
compiled, whatever the others have."""


def _to_be_compiled(package: str) -> bool:
    """Whether a package is not compiled, and may be here."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return False
    compiled = importlib.util.cache_from_source(spec.origin)
    return not os.path.exists(compiled) and os.access(os.path.dirname(spec.origin), os.W_OK)


@functools.cache
def compile_packages() -> None:
    """Let Python keep compiled what an inference process imports, where it has not done so yet.

    Some installers leave that to the first import. A jailed process cannot write it down, so
    every entry would pay for it, on its own clock.
    """
    if any(map(_to_be_compiled, _IMPORTED)):
        code = (
            "from challenge.data.physics import problem\n"
            "import deepinv\n"
            "from challenge.submissions.inference import loading"
        )
        # Isolated: nothing of the folder in which somebody calls the judge is imported.
        subprocess.run([sys.executable, "-I", "-c", code], check=False, capture_output=True)
