"""A prepared challenge, opened from its public folder. Free of torch until images are asked for."""

from __future__ import annotations

import json
import shlex
import zipfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from challenge.configs import loader, spelling
from challenge.configs.errors import Mistake, UserError
from challenge.configs.paths import names
from challenge.configs.schema.challenge import ChallengeConfig, Terms
from challenge.configs.schema.images import channels_of, values_of
from challenge.data import layout, reading
from challenge.data.challenges.rules import Standing
from challenge.data.challenges.rules import read as read_rules
from challenge.data.challenges.test_set import TestSet, summarise
from challenge.data.hashing import digest
from challenge.data.images import codec
from challenge.data.layout import FRESH, Public, Split, Workspace
from challenge.data.physics import measurements
from challenge.data.physics.family import Arrays
from challenge.data.physics.measurements import Measurement

if TYPE_CHECKING:
    from challenge.data.images.dataset import Images
    from challenge.data.physics.problem import Problem

FORMAT = 3
RULES_INSIDE = 2
"""The format of older toolkits, which kept rules and limits in `challenge.yaml`."""
PUBLISHING = 1
"""The format of still older ones, which published the test measurements too."""
_SHOWN = 8
_UNDO = "undo it; rules and limits are changed by `challenge amend {} rules.deadline=...`"


class Challenge:
    """What a team has: the public folder of a challenge."""

    def __init__(
        self,
        path: Path,
        config: ChallengeConfig,
        manifest: dict[str, Any],
        standing: Standing | None = None,
    ) -> None:
        self.path = path
        self.config = config
        """With the rules and limits that hold now."""
        self._standing = standing
        self.format: int = manifest["format"]
        """`FORMAT`, or that of the older toolkit that prepared it."""
        self.seal: str = manifest["seal"]
        """The published digest of the hidden test set, key and metric: 64 hex digits."""
        self.practice: bool = manifest["practice"]
        """True where the images are built in, so that everybody has the truth."""
        self._public = Public(path)
        self._manifest = manifest
        self._files: dict[str, str] = manifest["files"]

    @cached_property
    def standing(self) -> Standing:
        """Rules and limits again, and every change of them."""
        return self._standing or Standing(self.config.terms, (), self.hash)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the manifest, 64 hex digits: it names this very challenge."""
        return digest(self._public.manifest)

    @property
    def files(self) -> set[str]:
        """The names of all files of the public folder but the manifest and the rules."""
        return set(self._files)

    @property
    def channels(self) -> int:
        """3 in a colour challenge, 1 in a grey one, 2 in one of complex images."""
        return channels_of(self.config.images)

    @property
    def window(self) -> tuple[float, float]:
        """Black and white of pictures, in units of the image range [0, 1]."""
        return values_of(self.config.images).shown

    @property
    def workspace(self) -> Workspace:
        """The workspace that the public folder lies in, as `WORKSPACE/public/<challenge>`."""
        return Workspace(self.path.resolve().parents[1])

    @property
    def crop(self) -> int:
        """Pixels at every side of an image that do not count, in the metric and in training.

        `metric.crop`, which `prepare` resolved: by default what the operator sees in part.
        """
        crop = self.config.metric.crop
        if crop is None:
            raise UserError.of(self._public.config, "has no `metric.crop`", FRESH)
        return crop

    @cached_property
    def problem(self) -> Problem:
        """The forward problem, which also simulates measurements for training."""
        from challenge.data.physics.problem import open_problem

        return open_problem(self.config, self._arrays(), self.crop)

    @cached_property
    def train(self) -> Images:
        """The training images; those that memory has no room for are decoded into the cache."""
        from challenge.data.images.dataset import Images

        paths = [self._public.image("train", identity) for identity in self.ids("train")]
        return Images(paths, cache=layout.cache(self.path, self.hash))

    @cached_property
    def test(self) -> TestSet:
        """The number and the shapes of the test images, which may be hidden themselves."""
        if self.format == PUBLISHING:
            measured = (self.measurement("test", identity) for identity in self.ids("test"))
            return summarise(self.config.operator.kind, measured)
        return TestSet.model_validate(self._manifest["test"])

    def digests(self, split: Split) -> set[str]:
        """SHA-256 of the images of a split; those of a hidden one are not published."""
        return {hash for name, hash in self._files.items() if name.startswith(f"{split}/")}

    def ids(self, split: Split) -> list[str]:
        """The sorted ids of a split; raises `UserError` for a hidden one."""
        self._refuse_hidden(split)
        here = (name for name in self._files if name.startswith(f"{split}/"))
        names = [name.removeprefix(f"{split}/") for name in here]
        return layout.images(names) if split == "train" else layout.measurements(names)

    def _arrays(self) -> Arrays:
        """What `prepare` published of the operator."""
        first = self._public.kernels  # of format 1, which knew blurs only
        path = first if first.is_file() else self._public.operator
        try:
            reading.check(path)
            with path.open("rb") as file:
                stored = np.load(file, allow_pickle=False)
                arrays = {"kernels": stored} if path is first else dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            raise UserError.of(path, "is damaged", FRESH) from None
        for name, array in arrays.items():
            if array.dtype not in (np.float32, np.bool_) or not np.isfinite(array).all():
                raise UserError.of(path, f"holds `{name}`, {array.dtype}, not as made", FRESH)
        return arrays

    def measurement(self, split: Split, identity: str) -> Measurement:
        """The stored measurement of a val image, or of a test image where they are published.

        Raises:
            UserError: it is hidden, missing or damaged.
        """
        self._refuse_hidden(split)
        return measurements.read(self._public.measurement(split, identity))

    def _refuse_hidden(self, split: Split) -> None:
        if split == "test" and self.config.rules.test_measurements == "hidden":
            remedy = "use val: the judge hands those of test to an entry"
            raise UserError.of(self.path, "its test measurements are hidden", remedy)

    def truth(self, identity: str) -> NDArray[np.float32]:
        """The true image of a val measurement, float32, shape (C, H, W).

        In [0, 1]; of complex images the magnitude is.
        """
        return codec.to_unit(codec.stored(self._public.image("val", identity)))


def open_challenge(path: Path | str, *, verify: bool = False) -> Challenge:
    """Open the public folder of a prepared challenge, `workspace/public/<challenge>`.

    Args:
        path: the folder.
        verify: also compare the SHA-256 of every file with the manifest; that of
            `challenge.yaml` is compared in any case.

    Raises:
        UserError: if the folder is not a prepared challenge or not complete.
    """
    public = Public(Path(path))
    manifest = read_manifest(public)
    _compare(public, manifest["files"], verify)
    config, _ = loader.load_challenge(str(public.config))
    if manifest["format"] == PUBLISHING:
        rules = config.rules.model_copy(update={"test_measurements": "published"})
        config = config.model_copy(update={"rules": rules})
    inside = manifest["format"] <= RULES_INSIDE
    published = config.terms if inside else Terms.model_validate(manifest["terms"])
    standing = read_rules(public, published, digest(public.manifest), expected=not inside)
    return Challenge(public.path, config.under(standing.terms), manifest, standing)


def prepared(workspace: Workspace) -> list[str]:
    """The names of the challenges that are prepared in a workspace, sorted."""
    return sorted(path.parent.name for path in workspace.path.glob("public/[!.]*/manifest.json"))


def _instead(public: Public) -> str:
    """What to do where there is no challenge of this name."""
    workspace, name = public.path.parents[1], public.path.name
    known = prepared(Workspace(workspace))
    if name in names("challenges"):
        given = [name]
        if public.path.parent.name == "public" and workspace != Path("workspace"):
            given += ["--workspace", str(workspace)]
        return f"make it with `challenge prepare {shlex.join(given)}`"
    if known:
        return spelling.did_you_mean(name, known, f"prepared here: {', '.join(known)}")
    return "nothing is prepared here: give another `--workspace`, or `challenge prepare FILE.yaml`"


def read_manifest(public: Public) -> dict[str, Any]:
    """The manifest of a public folder; raises `UserError` if it is missing or damaged."""
    if not public.manifest.is_file():
        raise UserError.of(public.path, "is not a prepared challenge", _instead(public))
    try:
        manifest = json.loads(reading.bounded(public.manifest))
        kinds = {"format": int, "challenge": str, "seal": str, "practice": bool, "files": dict}
        if not all(isinstance(manifest[key], kind) for key, kind in kinds.items()):
            raise TypeError
        if manifest["format"] in (RULES_INSIDE, FORMAT):
            TestSet.model_validate(manifest["test"])
        if manifest["format"] == FORMAT:
            Terms.model_validate(manifest["terms"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError.of(public.manifest, "is damaged", FRESH) from None
    if manifest["format"] not in range(PUBLISHING, FORMAT + 1):
        raise UserError.of(
            public.manifest,
            f"has format `{manifest['format']}`, this toolkit reads `{PUBLISHING}` to `{FORMAT}`",
            "install the toolkit's version that prepared it",
        )
    checked: dict[str, Any] = manifest
    return checked


def _compare(public: Public, files: dict[str, str], verify: bool) -> None:
    mistakes = []
    for name, expected in sorted(files.items()):
        path = public.path / name
        if not path.is_file():
            mistakes.append(Mistake(str(path), "is missing", FRESH))
        elif (verify or path == public.config) and digest(path) != expected:
            remedy = _UNDO.format(public.path.name) if path == public.config else FRESH
            mistakes.append(Mistake(str(path), "was changed since `prepare`", remedy))
    for split in layout.SPLITS:
        for path in sorted((public.path / split).glob("[!.]*")):
            if f"{split}/{path.name}" not in files:
                mistakes.append(Mistake(str(path), "does not belong to the challenge", "remove it"))
    if len(mistakes) > _SHOWN:
        more = f"and {len(mistakes) - _SHOWN} more files are wrong"
        mistakes = [*mistakes[:_SHOWN], Mistake(str(public.path), more, FRESH)]
    if mistakes:
        raise UserError(*mistakes)
