"""A small prepared challenge, and folders of pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from challenge.configs.loader import load_challenge
from challenge.data import noise
from challenge.data.challenges.prepare import Prepared
from challenge.data.challenges.prepare import prepare as prepare_challenge
from challenge.data.layout import Workspace

SMALL = """
name: small
images: {source: builtin, size: 64, train: 4, val: 2, test: 3}
operator: {kernel: {file: kernels/motion.npy}, boundary: circular}
noise: {sigma: 0.03}
"""

Prepare = Callable[..., Prepared]


@pytest.fixture(autouse=True)
def volatile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests need not survive a power cut, and fsync is slow."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Prepare a challenge from the text of its YAML; `notices` collects what it says."""

    def run(
        text: str = SMALL,
        *overrides: str,
        force: bool = False,
        notices: list[str] | None = None,
        progress: Callable[[str, int, int], None] = lambda *_: None,
    ) -> Prepared:
        path = tmp_path / "challenge.yaml"
        path.write_text(text, encoding="utf-8")
        config, source = load_challenge(str(path), overrides)
        said = [] if notices is None else notices
        return prepare_challenge(
            config,
            source,
            Workspace(tmp_path / "workspace"),
            force=force,
            progress=progress,
            notice=said.append,
        )

    return run


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A prepared challenge that nobody changes."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    config, source = load_challenge(str(folder / "small.yaml"))
    return prepare_challenge(
        config, source, Workspace(folder), progress=lambda *_: None, notice=lambda _: None
    )


@pytest.fixture(scope="session")
def published(small: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The same challenge, of the same key, with its test measurements published."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    config, source = load_challenge(
        str(folder / "small.yaml"), ["rules.test_measurements=published"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "secret_key", small.hidden.key.read_bytes)
        return prepare_challenge(
            config, source, Workspace(folder), progress=lambda *_: None, notice=lambda _: None
        )


def _noise_picture(seed: int, height: int = 48, width: int = 56, channels: int = 3) -> Image.Image:
    """A picture unlike any other: random pixels."""
    pixels = np.random.default_rng(seed).integers(256, size=(height, width, channels))
    array = pixels.astype(np.uint8)
    return Image.fromarray(array[..., 0] if channels == 1 else array)


@pytest.fixture
def noise_picture() -> Callable[..., Image.Image]:
    return _noise_picture


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of twelve PNG pictures, a.png ... l.png."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number, name in enumerate("abcdefghijkl"):
        _noise_picture(number).save(folder / f"{name}.png")
    return folder
