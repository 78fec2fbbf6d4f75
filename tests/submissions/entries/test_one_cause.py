"""One fault of an entry has one cause, whatever else is wrong with it."""

import hashlib
import json
import shutil
import subprocess
import zipfile
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from challenge.submissions.entries import archive
from challenge.submissions.entries.check import check
from challenge.submissions.entries.teams import Teams

TEAMS = Teams.model_validate({"teams": {"alpha": {}}})
METHOD, BLOCKS = "plugin/method.py", "plugin/blocks.py"
MANIFEST, CONFIG, WEIGHTS = "manifest.json", "config.yaml", "weights.safetensors"


@dataclass
class Draft:
    """An entry in the making: its files, those that are compressed, what is done to the bytes."""

    contents: dict[str, bytes]
    compressed: set[str] = field(default_factory=set)
    bytes_of: list = field(default_factory=list)

    def write(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            for name in sorted(self.contents):
                info = zipfile.ZipInfo(name, archive.DATE)
                info.create_system, info.external_attr = 3, 0o100644 << 16
                deflated = name in self.compressed or None in self.compressed
                info.compress_type = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
                file.writestr(info, self.contents[name])
        for change in self.bytes_of:
            path.write_bytes(change(path.read_bytes()))

    def sealed(self, name: str, content: bytes) -> None:
        """Change a file, and the manifest with it."""
        self.contents[name] = content
        fact = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        if (facts := self.facts()) is not None:
            facts["files"][name] = fact
            self.contents[MANIFEST] = json.dumps(facts).encode()

    def facts(self) -> dict | None:
        facts = json.loads(self.contents.get(MANIFEST, b"[]"))
        return facts if isinstance(facts, dict) else None


def edited(draft: Draft, name: str, old: str, new: str) -> None:
    content = draft.contents.get(name, b"")
    if old.encode() in content:
        draft.sealed(name, content.replace(old.encode(), new.encode()))


def told(draft: Draft, **changes) -> None:
    if (facts := draft.facts()) is not None:
        draft.contents[MANIFEST] = json.dumps(facts | changes).encode()


def nan() -> bytes:
    header = json.dumps({"gain": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + np.float32(np.nan).tobytes()


def changed(name: str):
    def change(draft: Draft) -> None:
        if name in draft.contents:
            content = draft.contents[name]
            draft.contents[name] = (
                content[:-1] + b"\x01" if name == WEIGHTS else content + b"# later\n"
            )

    return change


FAULTS = {
    **{
        f"no {name}": lambda d, name=name: d.contents.pop(name, None)
        for name in (MANIFEST, CONFIG, WEIGHTS, METHOD, BLOCKS)
    },
    **{
        f"changed {name}": changed(name) for name in (CONFIG, WEIGHTS, METHOD, BLOCKS)
    },
    **{
        f"compressed {name}": lambda d, name=name: d.compressed.add(name)
        for name in (MANIFEST, CONFIG, WEIGHTS, METHOD, BLOCKS)
    },
    "all compressed": lambda d: d.compressed.add(None),
    "a note": lambda d: d.contents.update({"notes.txt": b"x"}),
    "a pickle": lambda d: d.contents.update({"plugin/net.pt": b"x"}),
    "an archive": lambda d: d.contents.update({"more.zip": b"PK"}),
    "a method too many": lambda d: d.contents.update({"plugin/more.py": b"x = 1\n"}),
    "a manifest that is none": lambda d: MANIFEST in d.contents
    and d.contents.update({MANIFEST: b"[]"}),
    "another challenge": lambda d: told(d, challenge={"name": "other", "hash": "0" * 64}),
    "an unknown team": lambda d: told(d, team="beta"),
    "no Python": lambda d: edited(d, METHOD, "class Mine", "class Mine Mine"),
    "an unknown import": lambda d: edited(d, METHOD, "import torch", "import torhc"),
    "an unknown class": lambda d: edited(d, CONFIG, "method.py:Mine", "method.py:Yours"),
    "a config that is none": lambda d: edited(d, CONFIG, "seed: 0", "seed: zero"),
    "what is no number": lambda d: WEIGHTS in d.contents and d.sealed(WEIGHTS, nan()),
    "no weights in it": lambda d: WEIGHTS in d.contents and d.sealed(WEIGHTS, b"PK" * 50),
    "cut off": lambda d: d.bytes_of.append(lambda content: content[:-40]),
    "bytes behind": lambda d: d.bytes_of.append(lambda content: content + b"x"),
    "bytes before": lambda d: d.bytes_of.append(lambda content: b"MZ" * 50 + content),
}  # fmt: skip


NO_MANIFEST = {f"no {MANIFEST}", "a manifest that is none"}
OF_BYTES = {"cut off", "bytes behind", "bytes before"}


@pytest.fixture
def causes(make_entry, challenge, tmp_path):
    """What the check says of the entry with some faults."""
    with zipfile.ZipFile(make_entry()) as file:
        whole = {name: file.read(name) for name in file.namelist()}

    def tried(*faults: str) -> list[str]:
        draft = Draft(dict(whole))
        for fault in faults:
            FAULTS[fault](draft)
        path = tmp_path / "x.zip"
        draft.write(path)
        return [str(problem.mistake) for problem in check(path, challenge, TEAMS)]

    return tried


def test_every_pair_of_faults_has_the_causes_of_its_faults_and_no_other(causes):
    assert causes() == []
    alone = {fault: causes(fault) for fault in FAULTS}
    assert {fault: said for fault, said in alone.items() if len(said) != 1} == {}
    wrong = {}
    for pair in combinations(FAULTS, 2):
        said = causes(*pair)
        expected = {alone[pair[0]][0], alone[pair[1]][0]}
        # Several files that another program wrote are one fault together; without the manifest,
        # or with several faults of the bytes, a fault shows itself by other words.
        same = not {*pair} & NO_MANIFEST and not {*pair} <= OF_BYTES
        more = [each for each in said if each not in expected and "is zipped anew" not in each]
        if (more and same) or not said or len(said) > 2:
            wrong[pair] = said
    assert wrong == {}


ZIPPED = ("deflated", "stored", "from a folder", "the folder", "by macOS", "by the system's zip")


@pytest.mark.parametrize("again", ZIPPED)
def test_an_entry_that_was_zipped_again_has_one_cause(make_entry, challenge, tmp_path, again):
    entry, path = make_entry(), tmp_path / "again.zip"
    folder = tmp_path / "unzipped"
    shutil.unpack_archive(entry, folder)
    if again == "by the system's zip":
        if not shutil.which("zip"):
            pytest.skip("there is no `zip` here")
        subprocess.run(["zip", "-qr", str(path), "."], cwd=folder, check=True)
    elif again == "from a folder":
        shutil.make_archive(str(path.with_suffix("")), "zip", folder)
    elif again == "the folder":
        shutil.make_archive(str(path.with_suffix("")), "zip", folder.parent, folder.name)
    else:
        how = zipfile.ZIP_DEFLATED if again == "deflated" else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", how) as file:
            for each in sorted(folder.rglob("*.*")):
                file.write(each, each.relative_to(folder))
                if again == "by macOS":
                    file.writestr(f"__MACOSX/{each.relative_to(folder)}", b"x")
    said = [str(problem.mistake) for problem in check(path, challenge, TEAMS)]
    assert len(said) == (again != "stored"), said
    for each in said:
        assert "again.zip: is zipped anew" in each
        assert "hand in the zip as `challenge pack` wrote it" in each
