"""Prepare a challenge: train and val for the teams, test for the organiser.

    truth: 8-bit PNG;  y = A truth + sigma n, from the truth as stored, so with its 8-bit steps

One image is in memory at a time; the folders appear complete or not at all (`staging`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from challenge.configs import loader
from challenge.configs.errors import UserError
from challenge.configs.loader import Source
from challenge.configs.schema.challenge import ChallengeConfig
from challenge.configs.schema.images import BuiltinImages, FolderPaths
from challenge.data import atomic, layout, noise
from challenge.data.challenges import seal, staging, test_set
from challenge.data.challenges.challenge import FORMAT
from challenge.data.hashing import digest
from challenge.data.images import codec, contact_sheet, splits
from challenge.data.layout import Hidden, Public, Split, Workspace
from challenge.data.physics import kernels, measurements, problem
from challenge.data.physics.measurements import Measurement

Progress = Callable[[str, int, int], None]
Notice = Callable[[str], None]

SMALLEST = 32
"""Pixels that the shorter side of every image needs."""
_WINDOW = 11  # of the metric's SSIM


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
        UserError: what is wrong with the images, the kernel or the disk; nothing is changed then.
    """
    public, hidden = workspace.public(config.name), workspace.hidden(config.name)
    with atomic.disk_errors(workspace.path):
        if recovered := staging.recover(public, hidden):
            notice(f"{public.path}: {recovered}")
        if not force:
            _refuse_existing(public.path, hidden.path)
        stack = kernels.build(config.operator.kernel, source.path, notice)
        config = _resolve(config, stack.shape[-1])
        smallest = _smallest(config, stack.shape[-1], source)
        key = noise.secret_key()
        duplicates: list[tuple[str, str]] = []
        if isinstance(config.images, BuiltinImages):
            plan = splits.plan_builtin(config.images, config.seed, key)
        else:
            plan, duplicates = splits.plan_folder(
                config.images, source, config.seed, key, smallest, progress, notice
            )
        with staging.replacing(public, hidden) as (new_public, new_hidden):
            published = _Writer(config, stack, key, new_public, new_hidden, progress).write(plan)
    counts = {split: len(plan[split]) for split in layout.SPLITS}
    return Prepared(public, hidden, counts, published, duplicates)


@dataclass(frozen=True)
class _Writer:
    config: ChallengeConfig
    kernels: NDArray[np.float32]
    key: bytes
    """Of the test split; secret."""
    public: Public
    hidden: Hidden
    progress: Progress

    def write(self, plan: splits.Plan) -> str:
        """Write everything, the manifest last; returns the seal."""
        _put(self.hidden.key, self.key)
        _put(self.public.config, loader.dump(_published(self.config)).encode())
        buffer = io.BytesIO()
        np.save(buffer, self.kernels)
        _put(self.public.kernels, buffer.getvalue())
        for split in layout.SPLITS:
            self._split(split, plan[split])
        _put_json(
            self.hidden.sources,
            {
                split: {item.identity: item.source for item in plan[split]}
                for split in layout.SPLITS
            },
        )
        crop = self.config.metric.crop
        assert crop is not None
        record = seal.make(self.hidden, crop)
        _put_json(self.hidden.seal, record)
        _put_json(self.public.manifest, self._manifest(record["seal"]))
        published: str = record["seal"]
        return published

    def _split(self, split: Split, items: splits.Items) -> None:
        name, total = self.config.name, len(items)
        shown = "measurement" if split == "test" else "truth | measurement"
        sheet = contact_sheet.Sheet(f"{name}: {split}, {shown}", total)
        published = split != "test" or self.config.rules.test_measurements == "published"
        secret = contact_sheet.Sheet(f"{name}: test, truth | measurement", total)
        for index, item in enumerate(items):
            self.progress(split, index, total)
            truth = item.read()
            identity = item.identity
            if split == "train":
                _put(self.public.image(split, identity), codec.encode(truth))
                if sheet.shows(index):
                    y = self._measure(split, "train", index, truth).y
                    sheet.add(identity, truth, contact_sheet.to_picture(y))
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
                y_picture = contact_sheet.to_picture(measurement.y)
                secret.add(identity, truth, y_picture)
                sheet.add(identity, *([y_picture] if split == "test" else [truth, y_picture]))
        self.progress(split, total, total)
        if published:
            _put(self.public.sheet(split), sheet.png())
        if split == "test":
            _put(self.hidden.sheet, secret.png())

    def _measure(self, split: Split, identity: str, draw: int, truth: codec.Picture) -> Measurement:
        key = noise.public_key(self.config.seed, self.config.name, split)
        return problem.measure_stored(
            codec.to_unit(truth),
            torch.from_numpy(self.kernels)[:, None],
            self.config.noise.levels,
            self.config.operator.boundary,
            self.key if split == "test" else key,
            identity,
            draw,
        )

    def _manifest(self, published: str) -> dict[str, Any]:
        files = sorted(path for path in self.public.path.rglob("*") if path.is_file())
        hidden = map(self.hidden.measurement, self.hidden.measured())
        test = test_set.summarise(self.config.operator.kind, map(measurements.read, hidden))
        return {
            "format": FORMAT,
            "challenge": self.config.name,
            "toolkit": version("challenge"),
            "practice": isinstance(self.config.images, BuiltinImages),
            "seal": published,
            "test": test.model_dump(mode="json"),
            "files": {
                path.relative_to(self.public.path).as_posix(): digest(path) for path in files
            },
        }


def _refuse_existing(*folders: Path) -> None:
    for folder in folders:
        if folder.exists():
            raise UserError.of(
                folder,
                "exists already",
                "`--force` replaces it; a new secret key then makes all its entries invalid",
            )


def _resolve(config: ChallengeConfig, side: int) -> ChallengeConfig:
    """Write out what null stood for: half the kernel is not fully seen by a valid blur."""
    if config.metric.crop is not None:
        return config
    crop = measurements.border(config.operator.boundary, side)
    metric = config.metric.model_copy(update={"crop": crop})
    return config.model_copy(update={"metric": metric})


def _smallest(config: ChallengeConfig, side: int, source: Source) -> int:
    """The shortest side that kernel and metric can do with; `images.size` must reach it."""
    crop = config.metric.crop or 0
    smallest = max(SMALLEST, side, 2 * crop + _WINDOW)
    if config.images.size < smallest:
        cause = f"images of {config.images.size} pixels are too small for a {side}x{side} kernel"
        if smallest > side:
            cause += f" and a metric that crops {crop}"
        place = ("images", "size")
        raise UserError(source.mistake(place, cause, f"at least {smallest} are needed"))
    return smallest


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _put_json(path: Path, value: Any) -> None:
    _put(path, (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode())


def _published(config: ChallengeConfig) -> ChallengeConfig:
    """The config without the organiser's folders: the last part of every path."""
    images, kernel = config.images, config.operator.kernel
    if images.source == "folder":
        path: str | FolderPaths
        if isinstance(images.path, str):
            path = Path(images.path).name or "."
        else:
            parts = images.path.model_dump().items()
            path = FolderPaths(**{split: each and Path(each).name for split, each in parts})
        images = images.model_copy(update={"path": path})
    if kernel.kind == "file":
        kernel = kernel.model_copy(update={"file": Path(kernel.file).name})
    operator = config.operator.model_copy(update={"kernel": kernel})
    return config.model_copy(update={"images": images, "operator": operator})
