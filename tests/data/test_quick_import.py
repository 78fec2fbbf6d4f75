"""deepinv is imported without torch's compiler, which is there when it is called."""

import subprocess
import sys

CODE = """
import sys
import challenge.methods.contract
assert "deepinv" in sys.modules and "torch._dynamo.utils" not in sys.modules
from torchvision.ops.deform_conv import torch
from torchvision.ops.roi_align import is_compile_supported
assert is_compile_supported("cpu") in (True, False)
assert "torch._dynamo.utils" in sys.modules
"""


def test_the_compiler_is_imported_when_it_is_called():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
