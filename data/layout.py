"""The names of the files of a prepared challenge; no other module in `data` knows them.

public/<challenge>/   challenge.yaml  rules.yaml  manifest.json  operator.npz  resolution.json
                      contact-<split>.png  train/<id>.png  val/<id>.png + <id>.npz
                      where 8 bits do not do, <id>.truth.npz in place of <id>.png
hidden/<challenge>/   test/<id>.png + <id>.npz  key  seal.json  sources.json  contact-test.png
                      rules.yaml  .rules.lock  references.json  revealed.json
.locks/<challenge>    who prepares it, or uses it
cache/<challenge>-<hash>/   <id>.npy, decoded training images that memory has no room for

Where test measurements are published, public/ has test/<id>.npz and contact-test.png as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]
Role = Literal["partial", "old", "trash"]
FRESH = "get a fresh copy of the challenge"
"""What helps where a file of a challenge is damaged."""
RULES = "rules.yaml"
PNG, FLOATS, MEASUREMENT = ".png", ".truth.npz", ".npz"
"""What follows an id: an image of 8 bits, one of floats, a measurement."""
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Public:
    """The folder every team gets."""

    path: Path

    @property
    def config(self) -> Path:
        """What decides images, measurements and metric, and never changes."""
        return self.path / "challenge.yaml"

    @property
    def rules(self) -> Path:
        """Rules and limits, and every change of them; older toolkits have them in `config`."""
        return self.path / RULES

    @property
    def resolution(self) -> Path:
        """What differences the test set can show, told by two baselines; it need not exist."""
        return self.path / "resolution.json"

    @property
    def manifest(self) -> Path:
        """Seal, shapes of the test set, SHA-256 of every file that never changes but itself."""
        return self.path / "manifest.json"

    @property
    def operator(self) -> Path:
        """What the operator has in common for all images: named arrays."""
        return self.path / "operator.npz"

    @property
    def kernels(self) -> Path:
        """In format 1, in its place: all kernels of the challenge, float32, shape (N, k, k)."""
        return self.path / "kernels.npy"

    def sheet(self, split: Split) -> Path:
        return self.path / f"contact-{split}.png"

    def image(self, split: Split, identity: str) -> Path:
        """A true image that is there: of floats, or of 8 bits."""
        return _image(self.path / split, identity)

    def measurement(self, split: Split, identity: str) -> Path:
        return self.path / split / f"{identity}{MEASUREMENT}"


@dataclass(frozen=True)
class Hidden:
    """The folder only the organiser has (mode 0700)."""

    path: Path

    @property
    def key(self) -> Path:
        """32 secret random bytes: the noise of the test measurements follows from them."""
        return self.path / "key"

    @property
    def seal(self) -> Path:
        return self.path / "seal.json"

    @property
    def rules(self) -> Path:
        """The organiser's own copy of the public `rules.yaml`, to hold that against."""
        return self.path / RULES

    @property
    def rules_lock(self) -> Path:
        """The file that is locked while rules are changed."""
        return self.path / ".rules.lock"

    @property
    def sources(self) -> Path:
        """Which file every id of every split came from, and files with the same pixels.

        Never published, nor is it sealed.
        """
        return self.path / "sources.json"

    @property
    def references(self) -> Path:
        """PSNR of the measurements and of baselines, by image; it need not exist."""
        return self.path / "references.json"

    @property
    def revealed(self) -> Path:
        """When the final part was unlocked; before that there is none."""
        return self.path / "revealed.json"

    @property
    def sheet(self) -> Path:
        return self.path / "contact-test.png"

    def image(self, identity: str) -> Path:
        """A true image that is there: of floats, or of 8 bits."""
        return _image(self.path / "test", identity)

    def measurement(self, identity: str) -> Path:
        return self.path / "test" / f"{identity}{MEASUREMENT}"

    def ids(self) -> list[str]:
        """Sorted ids of the true images."""
        return images(file.name for file in (self.path / "test").glob("[!.]*"))

    def measured(self) -> list[str]:
        """Sorted ids of the stored measurements; none where format 1 has them in public."""
        return measurements(file.name for file in (self.path / "test").glob("[!.]*"))

    def judged(self, entry: str) -> Path:
        """Reconstructions and pictures of one judged entry, by what names it alone."""
        return self.path / "judged" / entry


@dataclass(frozen=True)
class Workspace:
    """The folder in which challenges live on a machine."""

    path: Path

    def public(self, challenge: str) -> Public:
        return Public(self.path / "public" / challenge)

    def hidden(self, challenge: str) -> Hidden:
        return Hidden(self.path / "hidden" / challenge)

    def lock(self, challenge: str) -> Path:
        """The file that is locked while a challenge is prepared, or used."""
        return self.path / ".locks" / challenge


def images(names: Iterable[str]) -> list[str]:
    """The sorted ids of the true images among files of one folder."""
    return sorted(
        name.removesuffix(suffix)
        for name in names
        for suffix in (PNG, FLOATS)
        if name.endswith(suffix)
    )


def measurements(names: Iterable[str]) -> list[str]:
    """The sorted ids of the measurements among files of one folder."""
    return sorted(
        name.removesuffix(MEASUREMENT)
        for name in names
        if name.endswith(MEASUREMENT) and not name.endswith(FLOATS)
    )


def identity(image: Path) -> str:
    """The id of a true image by its file."""
    return image.name.removesuffix(FLOATS) if image.name.endswith(FLOATS) else image.stem


def _image(folder: Path, identity: str) -> Path:
    floats = folder / f"{identity}{FLOATS}"
    return floats if floats.exists() else folder / f"{identity}{PNG}"


def beside(folder: Path, role: Role) -> Path:
    """A hidden sibling of a challenge's folder: what is being made, replaced, removed."""
    return folder.with_name(f".{folder.name}.{role}")


def cache(public: Path, identity: str) -> Path:
    """Where decoded training images of a public folder are kept; it may be thrown away.

    Args:
        public: `WORKSPACE/public/<challenge>`.
        identity: the challenge's hash: another preparation has another cache.
    """
    return public.resolve().parents[1] / "cache" / f"{public.name}-{identity[:16]}"
