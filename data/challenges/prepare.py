"""Prepare a challenge: train and val for the teams, test for the organiser.

    truth: 8-bit PNG;  y = A truth + noise, from the truth as stored, so with its 8-bit steps

One image is in memory at a time; the folders appear complete or not at all (`staging`).
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from challenge.configs import loader
from challenge.configs.errors import UserError
from challenge.configs.escaping import escape_json
from challenge.configs.loader import Source
from challenge.configs.schema.challenge import ChallengeConfig
from challenge.configs.schema.images import BuiltinImages, FolderPaths
from challenge.data import atomic, layout, locks, noise
from challenge.data.challenges import rules, seal, staging, test_set
from challenge.data.challenges.challenge import FORMAT
from challenge.data.challenges.rules import Standing
from challenge.data.hashing import digest
from challenge.data.images import codec, contact_sheet, splits
from challenge.data.layout import Hidden, Public, Split, Workspace
from challenge.data.physics import families, measurements, noise_models
from challenge.data.physics.family import Arrays
from challenge.data.physics.measurements import Measurement
from challenge.data.physics.problem import Problem, open_problem

Progress = Callable[[str, int, int], None]
Notice = Callable[[str], None]

_PREPARED = "is being prepared by"
SMALLEST = 32
"""Pixels that the shorter side of every image needs."""
_WINDOW = 11  # of the metric's SSIM
_ROUNDING = 1e-6
"""A kernel in float32 may sum to a little less than 0."""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made."""

    public: Public
    hidden: Hidden
    counts: dict[Split, int]
    """Images per split."""
    seal: str
    """64 hex digits."""
    duplicates: list[tuple[str, str]]
    """(file left out, file with the same pixels that is kept)."""
    shrunk: str
    """Over how many pixels photographs were averaged; empty where none was."""
    proposal: str
    """Settings that would leave more photographs to train on; empty where most of them do."""


def prepare(
    config: ChallengeConfig,
    source: Source,
    workspace: Workspace,
    *,
    force: bool = False,
    progress: Progress,
    notice: Notice,
) -> Prepared:
    """Make the public and the hidden folder of a challenge.

    Args:
        config: the challenge; a `metric.crop` of None is resolved here.
        source: the YAML file it came from; files it names are searched beside it first.
        workspace: gets `public/<name>` and `hidden/<name>`.
        force: replace a prepared challenge, which invalidates its entries.
        progress: called with (what, done, total).
        notice: called with what was changed or left out, in one line.

    Raises:
        UserError: what is wrong with the images, the kernel or the disk; or somebody else prepares
            or uses the challenge; nothing is changed then.
    """
    public, hidden = workspace.public(config.name), workspace.hidden(config.name)
    with atomic.disk_errors(workspace.path), _alone(workspace, config.name, force):
        if recovered := staging.recover(public, hidden):
            notice(f"{public.path}: {recovered}")
        if not force:
            _refuse_existing(public.path, hidden.path)
        arrays = _arrays(config, source, notice)
        config = _resolve(config, arrays)
        smallest = _smallest(config, arrays, source)
        _check_size(config, arrays, source)
        _check_range(config, arrays, source)
        key = noise.secret_key()
        duplicates: list[tuple[str, str]] = []
        proposal = ""
        if isinstance(config.images, BuiltinImages):
            plan = splits.plan_builtin(config.images, config.seed, key)
        else:
            found = splits.plan_folder(
                config.images, source, config.seed, key, smallest, progress, notice
            )
            plan, duplicates, proposal = found.plan, found.duplicates, found.proposal
        with staging.replacing(public, hidden) as (new_public, new_hidden):
            published = _Writer(
                config, arrays, key, new_public, new_hidden, progress, notice
            ).write(plan, duplicates)
    counts = {split: len(plan[split]) for split in layout.SPLITS}
    shrunk = splits.shrunk([item for items in plan.values() for item in items])
    return Prepared(public, hidden, counts, published, duplicates, shrunk, proposal)


@dataclass(frozen=True)
class _Writer:
    config: ChallengeConfig
    arrays: Arrays
    key: bytes
    """Of the test split; secret."""
    public: Public
    hidden: Hidden
    progress: Progress
    notice: Notice

    @cached_property
    def problem(self) -> Problem:
        return open_problem(self.config, self.arrays, self.config.metric.crop or 0)

    def write(self, plan: splits.Plan, duplicates: Sequence[tuple[str, str]]) -> str:
        """Write everything, manifest and rules last; returns the seal."""
        _put(self.hidden.key, self.key)
        terms = {name: True for name in type(self.config.rules).model_fields}
        del terms["test_measurements"]
        text = loader.dump(_published(self.config), {"limits": True, "rules": terms})
        _put(self.public.config, text.encode())
        buffer = io.BytesIO()
        np.savez(buffer, **dict(self.arrays))  # type: ignore[arg-type]
        _put(self.public.operator, buffer.getvalue())
        for split in layout.SPLITS:
            self._split(split, plan[split])
        _put_json(
            self.hidden.sources,
            {
                **{
                    split: {item.identity: item.source for item in plan[split]}
                    for split in layout.SPLITS
                },
                # Each is the truth of an image as well, if that is of test.
                "duplicates": {
                    str(number): os.path.abspath(file)
                    for number, (file, _) in enumerate(duplicates)
                },
            },
        )
        crop = self.config.metric.crop
        assert crop is not None
        record = seal.make(self.hidden, crop)
        _put_json(self.hidden.seal, record)
        shrunk = {split: splits.shrunk(items) for split, items in plan.items()}
        _put_json(self.public.manifest, self._manifest(record["seal"]) | _told(shrunk))
        now = datetime.now(UTC).replace(microsecond=0)
        standing = Standing(self.config.terms, (), digest(self.public.manifest), now)
        for path in (self.public.rules, self.hidden.rules):
            _put(path, rules.text(standing).encode())
        published: str = record["seal"]
        return published

    def _split(self, split: Split, items: splits.Items) -> None:
        name, total = self.config.name, len(items)
        shown = "measurement" if split == "test" else "truth | measurement"
        shrunk = splits.shrunk(items)
        sheet = contact_sheet.Sheet(f"{name}: {split}, {shown}", total, shrunk)
        published = split != "test" or self.config.rules.test_measurements == "published"
        secret = contact_sheet.Sheet(f"{name}: test, truth | measurement", total, shrunk)
        cut = 0
        for index, item in enumerate(items):
            self.progress(split, index, total)
            truth = whole = item.read()
            if split != "train":
                truth = self._divisible(whole)
                cut += truth.shape != whole.shape
            identity = item.identity
            if split == "train":
                _put(self.public.image(split, identity), codec.encode(truth))
                if sheet.shows(index):
                    part = self._divisible(truth)
                    seen = self._measure(split, "train", index, part).picture
                    sheet.add(identity, part, contact_sheet.to_picture(seen))
                continue
            measurement = self._measure(split, identity, 0, truth)
            content = measurements.to_bytes(measurement)
            if published:
                _put(self.public.measurement(split, identity), content)
            if split == "test":
                _put(self.hidden.measurement(identity), content)
            folder = self.public.image(split, identity) if split == "val" else None
            _put(folder or self.hidden.image(identity), codec.encode(truth))
            if sheet.shows(index):
                y_picture = contact_sheet.to_picture(measurement.picture)
                secret.add(identity, truth, y_picture)
                sheet.add(identity, *([y_picture] if split == "test" else [truth, y_picture]))
        self.progress(split, total, total)
        if cut:
            lose = "1 picture loses" if cut == 1 else f"{cut} pictures lose"
            self.notice(f"{split}: {lose} rows or columns that the operator cannot downsample")
        if published:
            _put(self.public.sheet(split), sheet.png())
        if split == "test":
            _put(self.hidden.sheet, secret.png())

    def _divisible(self, picture: codec.Picture) -> codec.Picture:
        """The picture without the last rows and columns that the operator cannot take."""
        height, width = map(self.problem.fitting, picture.shape[1:])
        return picture[:, :height, :width]

    def _measure(self, split: Split, identity: str, draw: int, truth: codec.Picture) -> Measurement:
        public = noise.public_key(self.config.seed, self.config.name, split)
        key = self.key if split == "test" else public
        return self.problem.measure_stored(codec.to_unit(truth), identity, key, draw)

    def _manifest(self, published: str) -> dict[str, Any]:
        files = sorted(path for path in self.public.path.rglob("*") if path.is_file())
        hidden = map(self.hidden.measurement, self.hidden.measured())
        test = test_set.summarise(self.config.operator.kind, map(measurements.read, hidden))
        return {
            "format": FORMAT,
            "challenge": self.config.name,
            "toolkit": version("challenge"),
            "practice": isinstance(self.config.images, BuiltinImages),
            "terms": self.config.terms.model_dump(mode="json"),
            "seal": published,
            "test": test.model_dump(mode="json"),
            "files": {
                path.relative_to(self.public.path).as_posix(): digest(path) for path in files
            },
        }


def _told(shrunk: dict[Split, str]) -> dict[str, Any]:
    """What the manifest says of photographs that were made smaller, if any were."""
    return {"shrunk": shrunk} if any(shrunk.values()) else {}


@contextmanager
def _alone(workspace: Workspace, name: str, force: bool) -> Iterator[None]:
    """Nobody else prepares the challenge or uses it meanwhile."""
    public, hidden = workspace.public(name), workspace.hidden(name)
    with ExitStack() as held:
        try:
            held.enter_context(locks.alone(workspace.lock(name), public.path, _PREPARED))
        except locks.Taken:
            if not force:
                _refuse_existing(public.path, hidden.path)
            raise
        yield


def _refuse_existing(*folders: Path) -> None:
    for folder in folders:
        if folder.exists():
            raise UserError.of(
                folder,
                "exists already",
                "`--force` replaces it; a new secret key then makes all its entries invalid",
            )


def _arrays(config: ChallengeConfig, source: Source, notice: Notice) -> Arrays:
    family = families.of(config.operator)
    channels, size = 3 if config.images.mode == "colour" else 1, config.images.size
    return family.load(config.operator, (channels, size, size), source.path, notice)


def _resolve(config: ChallengeConfig, arrays: Arrays) -> ChallengeConfig:
    """Write out what null stood for: what the operator sees in part does not count."""
    if config.metric.crop is not None:
        return config
    crop = families.of(config.operator).border(config.operator, arrays)
    metric = config.metric.model_copy(update={"crop": crop})
    return config.model_copy(update={"metric": metric})


def _smallest(config: ChallengeConfig, arrays: Arrays, source: Source) -> int:
    """The shortest side that operator and metric can do with; `images.size` must reach it."""
    crop, side = config.metric.crop or 0, families.of(config.operator).smallest
    needed = side(config.operator, arrays)
    smallest = max(SMALLEST, needed, 2 * crop + _WINDOW)
    if config.images.size < smallest:
        what = "kernel" if hasattr(config.operator, "kernel") else "operator"
        reasons = [f"a {needed}x{needed} {what}"] if needed > 1 else []
        reasons += [f"a metric that crops {crop}"] if smallest > needed and crop else []
        cause = f"images of {config.images.size} pixels are too small for {' and '.join(reasons)}"
        place = ("images", "size")
        raise UserError(source.mistake(place, cause, f"at least {smallest} are needed"))
    # A photograph may lose as much before the operator can take it.
    return smallest + families.of(config.operator).scale(config.operator) - 1


def _check_size(config: ChallengeConfig, arrays: Arrays, source: Source) -> None:
    """Refuse a factor of downsampling that does not divide the images."""
    family, size = families.of(config.operator), config.images.size
    fitting = family.fitting(config.operator, arrays, size)
    if fitting != size:
        factor = family.scale(config.operator)
        cause = f"the operator's factor {factor} does not divide images of {size} pixels"
        if family.border(config.operator, arrays):
            cause += " without their border"
        raise UserError(source.mistake(("images", "size"), cause, f"give `images.size={fitting}`"))


def _check_range(config: ChallengeConfig, arrays: Arrays, source: Source) -> None:
    """Refuse Poisson noise where the operator makes negative values."""
    low, _ = families.of(config.operator).range(config.operator, arrays)
    if "gain" in noise_models.NAMES[config.noise.kind] and low < -_ROUNDING:
        cause = f"A x reaches {low:.3g}, and Poisson noise is for values that are not negative"
        remedy = "give a kernel without negative values, such as `box`, or gaussian noise"
        raise UserError(source.mistake(("noise", "kind"), cause, remedy))


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _put_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    _put(path, (escape_json(text) + "\n").encode())


def _published(config: ChallengeConfig) -> ChallengeConfig:
    """The config without the organiser's folders: the last part of every path."""
    images = config.images
    if images.source == "folder":
        path: str | FolderPaths
        if isinstance(images.path, str):
            path = Path(images.path).name or "."
        else:
            parts = images.path.model_dump().items()
            path = FolderPaths(**{split: each and Path(each).name for split, each in parts})
        images = images.model_copy(update={"path": path})
    operator = families.of(config.operator).published(config.operator)
    return config.model_copy(update={"images": images, "operator": operator})
