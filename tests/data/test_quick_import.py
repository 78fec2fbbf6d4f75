"""deepinv is imported without torch's compiler, which is there when it is called."""

import subprocess
import sys

CODE = """
import sys
from importlib.util import find_spec
from challenge.submissions.inference import loading, supervisor

# The supervisor, which stays free of torch, asks where it lies.
loading.compile_packages()
assert find_spec("deepinv").origin.endswith("__init__.py")
assert not {"torch", "torchvision", "deepinv"} & sys.modules.keys()

import challenge.methods.contract
assert "deepinv" in sys.modules and "torch._dynamo.utils" not in sys.modules
from torchvision.ops.deform_conv import torch
from torchvision.ops.roi_align import is_compile_supported
assert is_compile_supported("cpu") in (True, False)
assert "torch._dynamo.utils" in sys.modules
"""


def test_deepinv_and_the_compiler_are_imported_when_they_are_called_and_not_before():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
