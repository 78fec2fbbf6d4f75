"""Practice images with the statistics of photographs: dead leaves.

Leaves of random shape fall on each other; what lies on top hides the rest. Radii follow

    p(r) ~ r^-3,   r_min <= r <= r_max,

so that every octave of sizes covers the same area, as in scale-invariant photographs: the power
spectrum falls about as f^-2 and gradients are heavy-tailed (Lee, Mumford, Huang 2001). Leaves are
shaded and partly textured, some images carry strokes like writing, cast shadows and uneven light,
for a network that learns from them must do well on photographs.

Drawn at twice the resolution and averaged. Image i of a seed depends on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from challenge.data import noise
from challenge.data.images import leaf_shapes
from challenge.data.images.codec import Picture

Field = NDArray[np.float32]

# Anchors of natural colours (sRGB): foliage, soil, wood, skin, stone, sky, water, flowers, cloth.
_ANCHORS = np.array(
    [
        [52, 68, 36], [96, 118, 52], [148, 152, 88], [58, 44, 32], [112, 84, 58], [168, 132, 92],
        [206, 172, 140], [226, 194, 170], [132, 130, 126], [84, 86, 90], [178, 178, 174],
        [230, 228, 222], [22, 22, 24], [116, 152, 190], [168, 196, 218], [48, 76, 104],
        [92, 128, 128], [178, 54, 42], [214, 156, 52], [122, 66, 92], [60, 62, 120],
        [244, 240, 230],
    ],
    dtype=np.float32,
) / 255  # fmt: skip


def leaves(seed: int, index: int, size: int) -> Picture:
    """Draw image `index` of `seed`: uint8 colour, shape (3, size, size)."""
    generator = noise.generator(seed, "dead leaves", str(index))
    fine = 2 * size
    shapes = leaf_shapes.draw(generator, fine)
    label = leaf_shapes.cover(shapes, fine)
    image = _colour(generator, shapes, label)
    _shadows(generator, label, image)
    image = image.reshape(3, size, 2, size, 2).mean(axis=(2, 4))
    return _expose(generator, image)


@dataclass(frozen=True)
class _Palette:
    colours: Field
    """(n, 3)"""
    spread: float


def _palette(generator: np.random.Generator) -> _Palette:
    """Few colours of one scene: anchors, mixed and moved together in saturation and light."""
    count = int(generator.integers(3, 12))
    picked = _ANCHORS[generator.integers(len(_ANCHORS), size=count)]
    other = _ANCHORS[generator.integers(len(_ANCHORS), size=count)]
    share = generator.random((count, 1), dtype=np.float32)
    colours = picked + 0.5 * share * (other - picked)
    grey = colours.mean(axis=1, keepdims=True)
    saturation = generator.choice([0.0, 0.5, 0.9, 1.2, 1.6], p=[0.06, 0.24, 0.35, 0.25, 0.1])
    colours = grey + np.float32(saturation) * (colours - grey)
    return _Palette(colours.astype(np.float32), float(generator.uniform(0.02, 0.16)))


def _colour(
    generator: np.random.Generator, shapes: leaf_shapes.Shapes, label: NDArray[np.int32]
) -> Field:
    """Colour every pixel from its leaf: base colour, linear shading, texture: (3, n, n)."""
    count, fine = len(shapes.x), label.shape[0]
    palette = _palette(generator)
    base = palette.colours[generator.integers(len(palette.colours), size=count)]
    base = base + palette.spread * generator.standard_normal((count, 1), dtype=np.float32)
    base += 0.25 * palette.spread * generator.standard_normal((count, 3), dtype=np.float32)
    inked = shapes.ink >= 0
    base[inked] = base[np.maximum(shapes.ink, 0)][inked]

    # Shading: a slope across the leaf, in units of its own radius, so small leaves are flat.
    slope = generator.standard_normal((2, count), dtype=np.float32)
    slope *= np.where(inked, 0, generator.uniform(0, 0.14)) / np.maximum(shapes.a, 6)
    amplitude = generator.uniform(0, 0.5) * generator.random(count, dtype=np.float32) ** 2
    amplitude = np.where(inked | (generator.random(count) < 0.2), 0, amplitude).astype(np.float32)
    fields = _textures(generator, fine)
    kind = generator.integers(len(fields), size=count)

    row = np.arange(fine, dtype=np.float32)[:, None]
    column = np.arange(fine, dtype=np.float32)[None, :]
    light = slope[0][label] * (column - shapes.x[label])
    light += slope[1][label] * (row - shapes.y[label])
    place = np.arange(fine * fine).reshape(fine, fine)
    light += amplitude[label] * fields.reshape(-1)[kind[label] * (fine * fine) + place]
    np.clip(light, -0.5, 0.6, out=light)
    light += 1
    image: Field = base.T[:, label] * light
    return image


def _textures(generator: np.random.Generator, fine: int) -> Field:
    """Textures of unit variance that leaves share: noises of several slopes, stripes: (k, n, n)."""
    frequency = np.hypot(
        np.fft.fftfreq(fine, 1 / fine)[:, None], np.fft.rfftfreq(fine, 1 / fine)[None, :]
    ).astype(np.float32)
    frequency[0, 0] = np.inf
    fields = []
    for low, slope in ((fine / 128, 1.2), (fine * 3 / 64, 0.6)):
        shape = (fine, fine // 2 + 1, 2)
        white = generator.standard_normal(shape, dtype=np.float32).view(np.complex64)[..., 0]
        band = frequency ** np.float32(-slope) * (frequency > low) * (frequency < fine / 4)
        fields.append(np.fft.irfft2(white * band, s=(fine, fine)).astype(np.float32))
    grid = np.arange(fine, dtype=np.float32)
    for _ in range(2):
        angle, period = generator.uniform(0, np.pi), np.exp(generator.uniform(1.8, 3.6))
        phase = np.cos(angle) * grid[:, None] + np.sin(angle) * grid[None, :]
        phase = phase * np.float32(2 * np.pi / period) + 3 * fields[0] / fields[0].std()
        fields.append(np.sin(phase))
    stack = np.stack(fields).astype(np.float32)
    stack /= stack.std(axis=(1, 2), keepdims=True)
    return stack


def _shadows(generator: np.random.Generator, label: NDArray[np.int32], image: Field) -> None:
    """Darken, in place, what lies beside a leaf further up, on the side away from the light."""
    if generator.random() < 0.5:
        return
    down, right = (int(step) for step in generator.integers(2, 9, size=2))
    above = label[:-down, :-right] > label[down:, right:]
    image[:, down:, right:] *= np.where(above, np.float32(generator.uniform(0.5, 0.9)), 1)


def _expose(generator: np.random.Generator, image: Field) -> Picture:
    """Uneven light, contrast, and the slight softness of a lens; then 8 bits."""
    from scipy.ndimage import gaussian_filter

    size = image.shape[1]
    grid = np.linspace(-1, 1, size, dtype=np.float32)
    angle, strength = generator.uniform(0, 2 * np.pi), generator.uniform(0, 0.35)
    ramp = np.cos(angle) * grid[:, None] + np.sin(angle) * grid[None, :]
    image = image * (1 + strength * ramp).astype(np.float32)
    middle = image.mean()
    image = middle + (image - middle) * np.float32(generator.uniform(0.6, 1.3))
    softness = generator.uniform(0, 0.55)
    if softness > 0.3:
        image = gaussian_filter(image, (0, softness, softness), mode="reflect")
    image = image + np.float32(generator.uniform(0.25, 0.65) - middle)
    pixels: Picture = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return pixels
