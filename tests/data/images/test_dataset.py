"""Training images in memory, within a budget, and the tune part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from challenge.data.images import codec
from challenge.data.images.dataset import Images, split_tune

LAW = settings(max_examples=30, deadline=None)
SHAPES = [(3, 20, 30), (3, 40, 20), (3, 33, 35)]


@pytest.fixture
def paths(tmp_path):
    rng = np.random.default_rng(0)
    made = []
    for number, shape in enumerate(SHAPES):
        path = tmp_path / f"image-{number}.png"
        path.write_bytes(codec.encode(rng.integers(256, size=shape, dtype=np.uint8)))
        made.append(path)
    return made


@pytest.mark.parametrize("budget", [0, 2000, 10**9])
def test_the_budget_changes_nothing_but_speed(paths, budget):
    images = Images(paths, budget)
    for _ in range(2):
        for index, path in enumerate(paths):
            picture = codec.stored(path)
            assert images.shape(index) == SHAPES[index]
            assert images[index].dtype == torch.float32
            assert torch.equal(images[index], torch.from_numpy(codec.to_unit(picture)))
    assert len(images) == 3
    assert images.ids == ["image-0", "image-1", "image-2"]
    kept = sum(picture.nbytes for picture in images._kept.values())
    assert kept <= budget


def test_within_the_budget_the_disk_is_read_once(paths):
    images = Images(paths)
    first = [image.clone() for image in images]
    for path in paths:
        path.unlink()
    assert all(
        torch.equal(one, other) for one, other in zip(first, images.subset([0, 1, 2]), strict=True)
    )


def test_a_patch_is_a_part_of_the_image(paths):
    images = Images(paths)
    assert torch.equal(images.patch(1, 3, 4, 16, 8), images[1][:, 3:19, 4:12])


@pytest.mark.parametrize("window", [(-1, 0, 8, 8), (0, -1, 8, 8), (13, 0, 8, 8), (0, 23, 8, 8)])
def test_a_patch_outside_the_image_is_a_bug(paths, window):
    with pytest.raises(IndexError):
        Images(paths).patch(0, *window)


def test_changing_a_returned_image_changes_nothing(paths):
    images = Images(paths)
    images[0].zero_()
    images.patch(0, 0, 0, 8, 8).zero_()
    assert images[0].any()


def test_complex_images_in_memory_keep_their_signs_and_their_bits():
    x = torch.randn(2, 9, 7, generator=torch.Generator().manual_seed(0)) / 3
    images = Images.of({"one": x})
    assert torch.equal(images[0], x)
    assert torch.equal(images.patch(0, 2, 3, 4, 4), x[:, 2:6, 3:7])
    x.zero_()
    assert images[0].any()


def named(count: int) -> Images:
    return Images.of({f"i{number}": torch.zeros(1, 2, 2) for number in range(count)})


@LAW
@given(st.integers(0, 40), st.integers(0, 30), st.integers(0, 5))
def test_split_tune_divides_and_leaves_half_for_training(total, count, seed):
    images = named(total)
    train, tune = split_tune(images, count, seed)
    assert sorted(train.ids + tune.ids) == sorted(images.ids)
    assert len(tune) == min(count, total // 2)
    again = split_tune(images, count, seed)
    assert (again[0].ids, again[1].ids) == (train.ids, tune.ids)
    positions = [images.ids.index(identity) for identity in train.ids]
    assert positions == sorted(positions)


def test_split_tune_depends_on_the_seed():
    images = named(40)
    assert len({tuple(split_tune(images, 6, seed)[1].ids) for seed in range(5)}) == 5


# Images that memory has no room for


def test_images_beyond_the_budget_are_decoded_once_into_the_cache(paths, tmp_path, monkeypatch):
    decoded = []
    stored = codec.stored

    def noted(path):
        decoded.append(path.name)
        return stored(path)

    monkeypatch.setattr(codec, "stored", noted)
    expected = [torch.from_numpy(codec.to_unit(stored(path))) for path in paths]
    cache = tmp_path / "cache"
    budget = 3 * 20 * 30
    for _ in range(2):  # the second time, as another process: nothing in memory yet
        images = Images(paths, budget, cache)
        for _ in range(3):
            assert all(torch.equal(images[n], expected[n]) for n in range(3))
            assert torch.equal(images.subset([2]).patch(0, 3, 4, 8, 9), expected[2][:, 3:11, 4:13])
    assert sorted(path.name for path in cache.iterdir()) == ["image-1.npy", "image-2.npy"]
    # The first image, which memory holds, by each process; the others once.
    assert decoded == ["image-0.png", "image-1.png", "image-2.png", "image-0.png"]


def test_without_room_on_the_disk_images_are_decoded_each_time(paths, tmp_path, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10, 9, 1))
    images = Images(paths, 0, tmp_path / "cache")
    assert torch.equal(images[0], images[0])
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_a_damaged_file_of_the_cache_is_not_believed(paths, tmp_path):
    cache = tmp_path / "cache"
    expected = Images(paths, 0, cache)[1].clone()
    (cache / "image-1.npy").write_bytes(b"\x93NUMPY")
    assert torch.equal(Images(paths, 0, cache)[1], expected)


def test_few_files_of_the_cache_are_open_at_a_time(paths, tmp_path, monkeypatch):
    monkeypatch.setattr("challenge.data.images.dataset.OPEN", 2)
    images = Images(paths, 0, tmp_path / "cache")
    images.load()
    assert len(list((tmp_path / "cache").iterdir())) == 3
    for _ in range(2):
        for index, path in enumerate(paths):
            expected = torch.from_numpy(codec.to_unit(codec.stored(path)))
            assert torch.equal(images[index], expected)
            assert len(images._mapped) <= 2


def test_loading_stops_at_the_first_image_without_room(paths):
    images = Images(paths, 2000)
    images.load()
    assert [path.stem for path in images._kept] == ["image-0"]
