"""The shapes of dead leaves, and which of them is on top at every pixel."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_COVERAGE = 5.0
"""Area of all leaves over the area of the image: e^-5 of it stays bare, and gets leaf 0."""
_SMALL = 12
"""Leaves of up to this many pixels' reach are painted all at once."""


@dataclass(frozen=True)
class Shapes:
    """n leaves, the last on top; each attribute has shape (n,)."""

    x: Floats
    """Centre's column, pixels."""
    y: Floats
    """Centre's row, pixels."""
    a: Floats
    """Half the longer axis, pixels."""
    b: Floats
    """Half the shorter axis, pixels."""
    angle: Floats
    power: Floats
    """|u|^p + |v|^p <= 1: 1 a diamond, 2 an ellipse, large a rectangle."""
    hole: Floats
    """Rings: what lies below this share of the radius is open; 0 for a full leaf."""
    ink: Ints
    """The leaf whose colour this one takes (strokes of one writing), or -1."""

    def __len__(self) -> int:
        return len(self.x)


def draw(generator: np.random.Generator, fine: int) -> Shapes:
    """Draw the leaves of an image of `fine` x `fine` pixels."""
    smallest = float(np.exp(generator.uniform(np.log(3), np.log(12))))
    largest = fine * float(generator.uniform(0.2, 0.8))
    # Area per octave is constant, so the expected area of a leaf has this closed form.
    ratio = largest / smallest
    mean_square = 2 * smallest**2 * np.log(ratio) / (1 - ratio**-2)
    count = int(_COVERAGE * fine**2 / (np.pi * 0.6 * mean_square))
    # Inverse of the distribution function of p(r) ~ r^-3.
    radius = smallest / np.sqrt(1 - generator.random(count) * (1 - ratio**-2))
    aspect = generator.uniform(0.3, 1, count)
    thin = generator.random(count) < generator.uniform(0, 0.12)
    aspect = np.where(thin, np.maximum(generator.uniform(0.02, 0.1, count), 1.6 / radius), aspect)
    kinds = generator.dirichlet([2, 1, 0.5])
    power = generator.choice([2, 12, 1], size=count, p=kinds)
    ring = (generator.random(count) < 0.05) & (power == 2) & ~thin
    scattered = Shapes(
        x=generator.uniform(-0.1, 1.1, count).astype(np.float32) * fine,
        y=generator.uniform(-0.1, 1.1, count).astype(np.float32) * fine,
        a=radius.astype(np.float32),
        b=(radius * aspect).astype(np.float32),
        angle=generator.uniform(0, np.pi, count).astype(np.float32),
        power=power.astype(np.float32),
        hole=np.where(ring, generator.uniform(0.6, 0.92, count), 0).astype(np.float32),
        ink=np.full(count, -1, dtype=np.int32),
    )
    parts = [scattered]
    for _ in range(int(generator.choice([0, 1, 2], p=[0.6, 0.25, 0.15]))):
        parts.append(_writing(generator, fine, sum(map(len, parts))))
    return Shapes(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Shapes)))


def _writing(generator: np.random.Generator, fine: int, first: int) -> Shapes:
    """Lines of glyphs made of bars on a 2 x 3 grid of cells, all in one colour and direction."""
    height = float(np.exp(generator.uniform(np.log(14), np.log(60))))
    columns = int(generator.integers(3, max(4, min(24, int(0.8 * fine / height)))))
    lines = int(generator.integers(1, 5))
    bars = np.array(
        [[0, -0.5, 0.3, 0], [0, 0, 0.3, 0], [0, 0.5, 0.3, 0]]
        + [[u, v, 0.25, 1] for u in (-0.3, 0.3) for v in (-0.25, 0.25)]
        + [[0, 0, 0.55, 2]]
    )
    shown = generator.random((lines, columns, len(bars))) < 0.55
    line, column, bar = np.nonzero(shown)
    u = bars[bar, 0] + 0.95 * (column - columns / 2)
    v = bars[bar, 1] + 1.6 * (line - lines / 2)
    tilt = generator.choice([0.0, np.pi / 2, generator.uniform(0, np.pi)], p=[0.6, 0.1, 0.3])
    cos, sin = np.cos(tilt), np.sin(tilt)
    turn = np.array([0, np.pi / 2, 1.08])[bars[bar, 3].astype(int)]
    count = len(u)
    middle = generator.uniform(0.15, 0.85, 2) * fine
    thickness = float(generator.uniform(0.06, 0.13)) * height
    ones = np.ones(count, dtype=np.float32)
    return Shapes(
        x=(middle[0] + height * (cos * u - sin * v)).astype(np.float32),
        y=(middle[1] + height * (sin * u + cos * v)).astype(np.float32),
        a=(height * bars[bar, 2]).astype(np.float32) + np.float32(thickness),
        b=ones * np.float32(max(thickness, 1.0)),
        angle=(tilt + turn).astype(np.float32),
        power=12 * ones,
        hole=0 * ones,
        ink=np.full(count, first, dtype=np.int32),
    )


def cover(shapes: Shapes, fine: int) -> Ints:
    """The index of the topmost leaf at every pixel, shape (fine, fine)."""
    label = np.zeros((fine, fine), dtype=np.int32)
    # A leaf's reach in pixels: half its bounding box, whatever its angle (a rectangle's corner
    # is sqrt(2) away).
    corner = np.where(shapes.power > 2, np.hypot(shapes.a, shapes.b), shapes.a)
    reach = np.ceil(corner).astype(np.int64) + 1
    for low, high in ((0, 6), (6, _SMALL)):
        _paint_small(shapes, np.flatnonzero((reach > low) & (reach <= high)), high, label)
    for index in np.flatnonzero(reach > _SMALL):
        _paint_large(shapes, int(index), int(reach[index]), label)
    return label


def _paint_small(shapes: Shapes, chosen: NDArray[np.int64], reach: int, label: Ints) -> None:
    """Paint many leaves of at most `reach` at once."""
    fine = label.shape[0]
    steps = np.arange(-reach, reach + 1)
    for part in np.array_split(chosen, max(1, len(chosen) // 1024)):
        column = np.rint(shapes.x[part]).astype(np.int64)[:, None, None] + steps[None, None, :]
        row = np.rint(shapes.y[part]).astype(np.int64)[:, None, None] + steps[None, :, None]
        inside = _inside(shapes, part[:, None, None], column, row)
        inside &= (column >= 0) & (column < fine) & (row >= 0) & (row < fine)
        leaf, *_ = np.nonzero(inside)
        pixel = (row * fine + column)[inside]
        flat = label.reshape(-1)
        # Indices ascend, and of several values assigned to one pixel the last stays.
        flat[pixel] = np.maximum(flat[pixel], part[leaf]).astype(np.int32)


def _paint_large(shapes: Shapes, index: int, reach: int, label: Ints) -> None:
    fine = label.shape[0]
    left, top = (int(centre) - reach for centre in (shapes.x[index], shapes.y[index]))
    columns = slice(max(left, 0), max(left + 2 * reach + 2, 0))
    rows = slice(max(top, 0), max(top + 2 * reach + 2, 0))
    window = label[rows, columns]
    if window.size == 0:
        return
    column = np.arange(columns.start, min(columns.stop, fine), dtype=np.float32)[None, :]
    row = np.arange(rows.start, min(rows.stop, fine), dtype=np.float32)[:, None]
    inside = _inside(shapes, index, column, row)
    inside &= window < index
    window[inside] = index


def _inside(
    shapes: Shapes, index: int | NDArray[np.int64], column: NDArray[Any], row: NDArray[Any]
) -> NDArray[np.bool_]:
    """Which pixels lie in the leaf: |u|^p + |v|^p <= 1 in its own axes, outside its hole."""
    cos, sin = np.cos(shapes.angle[index]), np.sin(shapes.angle[index])
    across, down = column - shapes.x[index], row - shapes.y[index]
    u = np.abs((cos * across + sin * down) / shapes.a[index])
    v = np.abs((cos * down - sin * across) / shapes.b[index])
    power = shapes.power[index]
    if isinstance(index, int) and power != 2:  # one leaf: spare the pixels the other shapes
        return _true(u + v <= 1 if power == 1 else np.maximum(u, v) <= 1)
    square = u * u + v * v
    inside = (square <= 1) & (square >= shapes.hole[index] ** 2)
    if isinstance(index, int):
        return _true(inside)
    polygon = np.where(power == 1, u + v <= 1, np.maximum(u, v) <= 1)
    return np.where(power == 2, inside, polygon)


def _true(mask: Any) -> NDArray[np.bool_]:
    return np.asarray(mask, dtype=np.bool_)
