"""Feed the four readers of what teams hand in with mutants, in a process of its own.

    python tests/fuzz/readers.py READER SEED FIRST COUNT [FOLDER]

READER is zip, manifest, yaml or tensors. Prints one JSON object: what was counted, and the first
case that breaks the law, whose input is written into FOLDER. The same numbers give the same
inputs; COUNT 1 repeats a single case.

The law: a reader answers or refuses in its own words, one harmless line each, within two seconds
of one core, and never needs much memory; what one reader accepts, the next one can use.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import sys
import tempfile
import time
import traceback
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import mutations
import safetensors

from challenge.configs import loader, paths
from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import Rules
from challenge.configs.schema.entry import EntryConfig, Uses
from challenge.data.challenges.challenge import Challenge
from challenge.submissions.entries import archive, check, manifest, weights
from challenge.submissions.entries.manifest import ForChallenge, Manifest, Member, Training
from challenge.submissions.entries.teams import Teams

SECONDS = 2.0
"""Of one core, for one input."""

METHOD = b"""
import torch
from challenge.methods.contract import Method
from .blocks import shift

class Mine(Method):
    def __init__(self, *, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, y, physics):
        return self.gain * physics.A_adjoint(y) + shift
"""


@dataclass
class Report:
    cases: int = 0
    accepted: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    memory: int = 0
    """Bytes by which the peak of the process grew."""
    failure: str = ""
    """The case that broke the law, with everything needed to repeat it."""


# --- valid files --------------------------------------------------------------------------------


def tensors() -> list[bytes]:
    """Safetensors files: every type, a scalar, an empty tensor, metadata, many tensors."""
    files = []
    for names in (weights.ITEMSIZE, ["F32"], ["F16", "BF16", "F64"] * 20):
        header, data = {"__metadata__": {"format": "pt"}}, b""
        for number, dtype in enumerate(names):
            shape = [[3, 5], [], [0, 4], [7]][number % 4]
            size = weights.ITEMSIZE[dtype] * int(number % 4 != 2) * [15, 1, 0, 7][number % 4]
            content = bytes(range(size)) if dtype != "BOOL" else bytes(size)
            header[f"net.{number}.{dtype}"] = {  # type: ignore[assignment]
                "dtype": dtype,
                "shape": shape,
                "data_offsets": [len(data), len(data) + size],
            }
            data += content
        text = json.dumps(header).encode()
        files.append(struct.pack("<Q", len(text)) + text + data)
    return files


def configs() -> list[bytes]:
    return [path.read_bytes() for path in paths.names().values()] + [entry_config()]


def entry_config() -> bytes:
    method = {"name": "plugin/method.py:Mine", "gain": 1.0}
    return loader.dump(EntryConfig(challenge="deblur", name="mine", method=method)).encode()


def contents() -> dict[str, bytes]:
    found = {
        "config.yaml": entry_config(),
        "plugin/blocks.py": b"shift = 0.0\n",
        "plugin/method.py": METHOD,
        "weights.safetensors": tensors()[1],
    }
    return {"manifest.json": facts(found)} | found


def facts(files: dict[str, bytes]) -> bytes:
    return manifest.dump(
        Manifest(
            format=1,
            team="alpha",
            name="mine",
            challenge=ForChallenge(name="deblur", hash="0" * 64),
            versions={"toolkit": "0.1.0", "torch": "2.6"},
            uses=Uses(),
            training=Training(
                source="builtin", images=4, seed=0, seconds=1.5, machine="é, 2 cores"
            ),
            files={
                name: Member(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
                for name, content in files.items()
            },
        )
    )


def entry() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "entry.zip"
        archive.write(path, {name: [content] for name, content in contents().items()})
        return path.read_bytes()


# --- readers, each with what it promises --------------------------------------------------------


class Broken(Exception):
    """The law does not hold."""


def hold(holds: bool, said: str) -> None:
    if not holds:
        raise Broken(said)


def one_line(text: str) -> None:
    odd = [each for each in text if each != " " and unicodedata.category(each)[0] in "CZ"]
    hold(not odd or odd == ["\xa0"] * len(odd), f"not one harmless line: {text[:300]!r}")
    hold(len(text) < 5_000, f"a line of {len(text)} characters")


class Reader:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "input"

    def read(self, data: bytes) -> bool:
        """Read one input; whether it was accepted."""
        raise NotImplementedError

    def mutant(self, rng: Random) -> bytes:
        raise NotImplementedError


class Zip(Reader):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.valid = entry()
        config, _ = loader.load_challenge("deblur")
        strict = config.model_copy(update={"rules": Rules(pretrained="forbidden")})
        self.challenge = Challenge(
            folder, strict, {"format": 2, "seal": "", "practice": True, "files": {}}
        )
        self.challenge.__dict__["hash"] = "0" * 64
        self.teams = Teams.model_validate({"teams": {"alpha": {}, "beta": {}}})
        hold(self.read(self.valid), "the valid entry is refused")

    def mutant(self, rng: Random) -> bytes:
        return mutations.of_entry(rng, self.valid, self.valid)

    def read(self, data: bytes) -> bool:
        self.path.write_bytes(data)
        problems = check.check(self.path, self.challenge, self.teams)
        for problem in problems:
            one_line(str(problem.mistake))
            hold(bool(problem.remedy), f"no remedy: {problem.mistake}")
        check.read_manifest(self.path)
        if problems:
            return False
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            archive.extract(self.path, Path(folder))
            hold((Path(folder) / "weights.safetensors").is_file(), "accepted without weights")
            safetensors.deserialize((Path(folder) / "weights.safetensors").read_bytes())
            loader.load_entry(str(Path(folder) / "config.yaml"))
        return True


class ManifestReader(Reader):
    def mutant(self, rng: Random) -> bytes:
        valid = facts({name: b"x" * rng.randrange(9) for name in "abc"})
        return (mutations.of_bytes if rng.random() < 0.3 else mutations.of_json)(rng, valid)

    def read(self, data: bytes) -> bool:
        try:
            found = manifest.parse(data)
        except ValueError:
            return False
        hold(manifest.parse(manifest.dump(found)) == found, "does not survive being written")
        return True


class Yaml(Reader):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.valid = configs()

    def mutant(self, rng: Random) -> bytes:
        data = rng.choice(self.valid)
        if rng.random() < 0.3:
            return mutations.of_bytes(rng, data, rng.choice(self.valid))
        return mutations.of_yaml(rng, data)

    def read(self, data: bytes) -> bool:
        self.path = self.folder / "config.yaml"
        self.path.write_bytes(data)
        accepted = False
        for load in (loader.load_entry, loader.load_challenge):
            try:
                config, _ = load(str(self.path))
            except UserError as error:
                hold(len(error.mistakes) > 0, "refused without a word")
                for mistake in error.mistakes:
                    one_line(str(mistake))
                continue
            accepted = True
            text = loader.dump(config)  # compared as text: nan is not equal to itself
            self.path.write_text(text, encoding="utf-8")
            hold(loader.dump(load(str(self.path))[0]) == text, "does not survive being written")
        return accepted


class TensorReader(Reader):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.valid = tensors()

    def mutant(self, rng: Random) -> bytes:
        return mutations.of_tensors(rng, rng.choice(self.valid), rng.choice(self.valid))

    def read(self, data: bytes) -> bool:
        try:
            file = io.BytesIO(data)
            found, _ = weights.read_header(file, len(data))
            bad = weights.not_finite(file, found)
            again = b"".join(weights.canonical(io.BytesIO(data), len(data)))
        except weights.NotSafetensors as error:
            hold(len(str(error)) < 1_000, "a long refusal")
            return False
        hold(set(bad) <= {each.name for each in found}, "counts what is not there")
        hold(file.read() == b"", "bytes are left")
        same = b"".join(weights.canonical(io.BytesIO(again), len(again)))
        hold(same == again, "is not canonical")
        safetensors.deserialize(again)
        library = {name: facts for name, facts in safetensors.deserialize(data)}
        hold({*library} == {each.name for each in found}, "the library sees other tensors")
        for each in found:
            hold(library[each.name]["dtype"] == each.dtype, "the library sees another type")
            hold(tuple(library[each.name]["shape"]) == each.shape, "the library sees another shape")
        return True


READERS: dict[str, Callable[[Path], Reader]] = {
    "zip": Zip,
    "manifest": ManifestReader,
    "yaml": Yaml,
    "tensors": TensorReader,
}


# --- the loop -----------------------------------------------------------------------------------


def peak() -> int:
    """Bytes of the largest resident size of this process so far."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def feed(name: str, seed: int, numbers: range, folder: Path) -> Report:
    report = Report()
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    reader = READERS[name](scratch)
    base = peak()
    began = time.process_time()
    for number in numbers:
        (folder / "now").write_text(f"{name} {seed} {number} 1")
        data = reader.mutant(Random(f"{name} {seed} {number}"))
        started = time.process_time()
        try:
            report.accepted += reader.read(data)
            taken = time.process_time() - started
            hold(taken < SECONDS, f"took {taken:.1f} s")
        except Exception:
            (folder / "failing").write_bytes(data)
            report.failure = (
                f"python tests/fuzz/readers.py {name} {seed} {number} 1\n"
                f"{traceback.format_exc()[-3000:]}\ninput, {len(data)} bytes: {data[:3000]!r}"
            )
            break
        report.cases += 1
        report.slowest = max(report.slowest, taken)
    report.seconds = time.process_time() - began
    report.memory = peak() - base
    return report


def main() -> None:
    name, seed, first, count, *folder = sys.argv[1:]
    numbers = range(int(first), int(first) + int(count))
    with tempfile.TemporaryDirectory() as own:
        report = feed(name, int(seed), numbers, Path(folder[0] if folder else own))
    print(json.dumps(asdict(report)))


if __name__ == "__main__":
    main()
