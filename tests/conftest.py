"""What every process of the tests has of its own: one thread, and a temporary folder.

Their tensors are tiny, and two threads would wait for each other. What a test leaves, or looks for,
among temporary files is not mixed with that of another process.
"""

import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_temporary_files(tmp_path_factory):
    tmp_path_factory.getbasetemp()  # which stays where it usually is, to be looked at
    # Its path is short, as the usual one is: pytest's own folders do not fit into 80 columns.
    with (
        tempfile.TemporaryDirectory(prefix="t-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield
