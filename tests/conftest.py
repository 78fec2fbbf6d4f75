"""What every process of the tests has of its own: one thread, and a temporary folder.

Their tensors are tiny, and two threads would wait for each other. What a test leaves, or looks for,
among temporary files is not mixed with that of another process.
"""

import io
import json
import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
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


def with_rules_inside(public):
    """The text of `challenge.yaml` as older toolkits wrote it; `rules.yaml` goes away."""
    from challenge.configs import loader
    from challenge.configs.schema.challenge import Terms

    source = loader.read(str(public.rules))
    terms = Terms(rules=source.tree["rules"], limits=source.tree["limits"])
    public.rules.unlink()
    return loader.dump(loader.load_challenge(str(public.config))[0].under(terms))


@pytest.fixture(scope="session")
def to_format_2():
    """Turn a prepared challenge into one of an older toolkit, with rules in `challenge.yaml`."""
    from challenge.data.hashing import digest

    def convert(public, hidden):
        public.config.write_text(with_rules_inside(public))
        hidden.rules.unlink()
        manifest = json.loads(public.manifest.read_text()) | {"format": 2}
        del manifest["terms"]
        manifest["files"]["challenge.yaml"] = digest(public.config)
        public.manifest.write_text(json.dumps(manifest, indent=2) + "\n")

    return convert


@pytest.fixture(scope="session")
def to_format_1():
    """Turn a prepared challenge into one of an older toolkit, which published the measurements."""
    from challenge.data.hashing import digest, digest_json

    def convert(public, hidden):
        hidden.rules.unlink()
        for identity in hidden.measured():
            path = public.measurement("test", identity)
            path.parent.mkdir(exist_ok=True)
            hidden.measurement(identity).replace(path)
        for path in public.path.glob("*/*.npz"):
            path.write_bytes(measurement_of_format_1(path.read_bytes()))
        with np.load(public.operator) as stored:
            np.save(public.kernels, stored["kernels"])
        public.operator.unlink()
        public.sheet("test").write_bytes(hidden.sheet.read_bytes())  # any picture
        lines = with_rules_inside(public).splitlines(keepends=True)
        public.config.write_text("".join(each for each in lines if "test_measurements" not in each))
        parts = json.loads(hidden.seal.read_text()) | {"format": 1}
        del parts["measurements"], parts["seal"]
        record = {**parts, "seal": digest_json(parts)}
        hidden.seal.write_text(json.dumps(record, indent=2) + "\n")
        manifest = json.loads(public.manifest.read_text()) | {"format": 1, "seal": record["seal"]}
        del manifest["test"], manifest["terms"]
        files = sorted(path for path in public.path.rglob("*") if path.is_file())
        manifest["files"] = {
            path.relative_to(public.path).as_posix(): digest(path)
            for path in files
            if path != public.manifest
        }
        public.manifest.write_text(json.dumps(manifest, indent=2) + "\n")

    return convert


def measurement_of_format_1(content: bytes) -> bytes:
    """A stored measurement of a blur as an older toolkit wrote it."""
    with np.load(io.BytesIO(content)) as new:
        old = {
            "format": np.int64(1),
            **{name: new[name] for name in ("identity", "y")},
            "kernel": new["operator.kernel"],
            "sigma": new["noise.sigma"],
            "boundary": new["operator.boundary"],
            "shape": new["shape"],
        }
    buffer = io.BytesIO()
    np.savez(buffer, **old)
    return buffer.getvalue()
