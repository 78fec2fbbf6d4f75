"""Write what a challenge is made of: pictures, measurements, sheets, seal, manifest, rules.

    truth: 8-bit PNG;  y = A truth + noise, from the truth as stored, so with its 8-bit steps
           or float .npz, of phantoms and slices

One image is in memory at a time.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from challenge.configs import loader
from challenge.configs.escaping import json_text
from challenge.configs.schema.challenge import AmendableRules, ChallengeConfig
from challenge.configs.schema.images import BuiltinImages, FolderPaths, values_of
from challenge.data import layout, noise
from challenge.data.challenges import rules, seal, test_set
from challenge.data.challenges.challenge import FORMAT
from challenge.data.challenges.rules import Standing
from challenge.data.hashing import digest
from challenge.data.images import codec, contact_sheet, splits
from challenge.data.images.photographs import Notice, Progress
from challenge.data.layout import Hidden, Public, Split
from challenge.data.physics import families, measurements
from challenge.data.physics.family import Arrays
from challenge.data.physics.measurements import Measurement
from challenge.data.physics.problem import Problem, open_problem


@dataclass(frozen=True)
class Writer:
    """Writes a challenge into two empty folders."""

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
        amendable = {"limits": True, "rules": set(AmendableRules.model_fields)}
        text = loader.dump(_published(self.config), amendable)
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
        note = shrunk or values_of(self.config.images).described
        sheet = contact_sheet.Sheet(f"{name}: {split}, {shown}", total, note)
        published = split != "test" or self.config.rules.test_measurements == "published"
        secret = contact_sheet.Sheet(f"{name}: test, truth | measurement", total, note)
        cut = 0
        for index, item in enumerate(items):
            self.progress(split, index, total)
            truth = whole = item.read()
            if split != "train":
                truth = self._divisible(whole)
                cut += truth.shape != whole.shape
            identity = item.identity
            if split == "train":
                _put(self.public.path / split / _file(identity, truth), codec.encode(truth))
                if sheet.shows(index):
                    part = self._divisible(truth)
                    seen = self._measure(split, "train", index, part).picture
                    sheet.add(identity, self._shown(part), self._shown(seen))
                continue
            measurement = self._measure(split, identity, 0, truth)
            content = measurements.to_bytes(measurement)
            if published:
                _put(self.public.measurement(split, identity), content)
            if split == "test":
                _put(self.hidden.measurement(identity), content)
            owner = self.public.path if split == "val" else self.hidden.path
            _put(owner / split / _file(identity, truth), codec.encode(truth))
            if sheet.shows(index):
                x_picture, y_picture = self._shown(truth), self._shown(measurement.picture)
                secret.add(identity, x_picture, y_picture)
                sheet.add(identity, *([y_picture] if split == "test" else [x_picture, y_picture]))
        self.progress(split, total, total)
        if cut:
            lose = "1 picture loses" if cut == 1 else f"{cut} pictures lose"
            self.notice(f"{split}: {lose} rows or columns that the operator cannot downsample")
        if published:
            _put(self.public.sheet(split), sheet.png())
        if split == "test":
            _put(self.hidden.sheet, secret.png())

    def _shown(self, x: codec.Stored) -> codec.Picture:
        """An image or a measurement in the window of the challenge."""
        return contact_sheet.to_picture(x, values_of(self.config.images).shown)

    def _divisible(self, picture: codec.Stored) -> codec.Stored:
        """The picture without the last rows and columns that the operator cannot take."""
        height, width = map(self.problem.fitting, picture.shape[1:])
        return picture[:, :height, :width]

    def _measure(self, split: Split, identity: str, draw: int, truth: codec.Stored) -> Measurement:
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


def _file(identity: str, truth: codec.Stored) -> str:
    return f"{identity}{codec.suffix(truth)}"


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _put_json(path: Path, value: Any) -> None:
    _put(path, json_text(value).encode())


def _published(config: ChallengeConfig) -> ChallengeConfig:
    """The config without the organiser's folders.

    Of photographs the last part of a path stays; of slices nothing, it may be a patient's name.
    """
    images = config.images
    if images.source in ("folder", "slices"):

        def shown(path: str, word: str) -> str:
            return word if images.source == "slices" else Path(path).name or "."

        path: str | FolderPaths
        if isinstance(images.path, str):
            path = shown(images.path, "slices")
        else:
            parts = images.path.model_dump().items()
            path = FolderPaths(**{split: each and shown(each, split) for split, each in parts})
        images = images.model_copy(update={"path": path})
    operator = families.of(config.operator).published(config.operator)
    return config.model_copy(update={"images": images, "operator": operator})
