"""deepinv is imported without torch's compiler, which is there when it is called."""

import subprocess
import sys

import pytest

SUPERVISOR = """
import sys
from importlib.util import find_spec
from challenge.submissions.inference import loading, supervisor

loading.compile_packages()
assert find_spec("deepinv").origin.endswith("__init__.py")
assert not {"torch", "torchvision", "deepinv"} & sys.modules.keys()
"""
METHOD = """
import sys
import challenge.methods.contract
assert "deepinv" in sys.modules and "torch._dynamo.utils" not in sys.modules
from torchvision.ops.roi_align import is_compile_supported
assert is_compile_supported("cpu") in (True, False)
assert "torch._dynamo.utils" in sys.modules
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_supervisor_which_asks_where_deepinv_lies_imports_none_of_it():
    run(SUPERVISOR)


@pytest.mark.slow
def test_the_compiler_is_imported_when_it_is_called():
    run(METHOD)
