"""A challenge with many kernels and noise levels: every image is measured with its own.

The kernels of the files have different sizes, odd and even, square and not, and no symmetry. What
is expected is computed by SciPy with the kernels as they were before they were stored.
"""

from __future__ import annotations

from collections import Counter

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.ndimage
import torch

from challenge.data import noise
from challenge.data.challenges.challenge import open_challenge
from challenge.data.images import codec, contact_sheet
from challenge.data.physics import blur, kernel_files, kernels, measurements
from challenge.data.physics.problem import Problem, tensors

RNG = np.random.default_rng(0)
SIZES = ((3, 3), (5, 7), (6, 4), (9, 9), (8, 8), (2, 3))
KERNELS = [(kernel := RNG.random(size) ** 4) / kernel.sum() for size in SIZES]
SIDE = 9
MODES = {"circular": "wrap", "reflect": "mirror", "valid": "wrap"}
BOUNDARIES = tuple(MODES)

TEXT = """
name: many
images: {{source: folder, path: {path}, size: 40, val: 5, test: 3}}
operator: {{kernel: {{file: {file}}}, boundary: {boundary}}}
noise: {{sigma: {sigma}}}
rules: {{test_measurements: published}}
"""


def npy(path):
    """One size only; zeros at the bottom and right keep the centre of none but the largest."""
    np.save(path, np.stack([KERNELS[3], KERNELS[3].T, KERNELS[3][::-1]]))
    return [KERNELS[3], KERNELS[3].T, KERNELS[3][::-1]]


def npz(path):
    np.savez(path, *KERNELS)
    return KERNELS


def mat_v5(path):
    cell = np.empty((1, len(KERNELS)), dtype=object)
    for index, kernel in enumerate(KERNELS):
        cell[0, index] = kernel
    scipy.io.savemat(path, {"kernels": cell})
    return KERNELS


def mat_v73(path):
    """As MATLAB writes it: a column of references, every array with reversed axes."""
    with h5py.File(path, "w") as file:
        refs = file.create_group("#refs#")
        cell = np.empty((len(KERNELS), 1), dtype=h5py.ref_dtype)
        for index, kernel in enumerate(KERNELS):
            cell[index, 0] = refs.create_dataset(f"k{index}", data=kernel.T).ref
        file.create_dataset("kernels", data=cell, dtype=h5py.ref_dtype)
    return KERNELS


WRITERS = {"k.npy": npy, "k.npz": npz, "v5.mat": mat_v5, "v73.mat": mat_v73}


def stack():
    """All kernels in the form of a challenge, shape (N, k, k)."""
    return kernels.normalised_stack(KERNELS, "test", lambda _: None)


def blurred(x, kernel, boundary):
    """SciPy's blur of (C, H, W) in float64 with a kernel of its own size."""
    planes = x.astype(np.float64)
    y = np.stack([scipy.ndimage.convolve(each, kernel, mode=MODES[boundary]) for each in planes])
    half = SIDE // 2
    return y[:, half:-half, half:-half] if boundary == "valid" else y


def drawn(key, identity, draw, count, levels):
    """Which kernel and which noise level an image has."""
    generator = noise.choices(key, identity, draw)
    index = int(generator.integers(count))
    return index, levels[0] + (levels[1] - levels[0]) * generator.random()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("name", WRITERS)
def test_every_stored_image_has_its_own_kernel_and_noise(
    tmp_path, prepare, photographs, name, boundary
):
    expected = WRITERS[name](tmp_path / name)
    text = TEXT.format(path=photographs, file=tmp_path / name, boundary=boundary, sigma=[0.01, 0.1])
    made = prepare(text)
    challenge = open_challenge(made.public.path)
    used = set()
    for split, key in (
        ("val", noise.public_key(0, "many", "val")),
        ("test", made.hidden.key.read_bytes()),
    ):
        for identity in challenge.ids(split):
            m = measurements.read(made.public.measurement(split, identity))
            index, sigma = drawn(key, identity, 0, len(expected), (0.01, 0.1))
            image = made.public.image(split, identity) if split == "val" else None
            x = codec.to_unit(codec.stored(image or made.hidden.image(identity)))
            rest = m.y - blurred(x, expected[index], boundary)
            n = noise.normal(key, identity, 0, m.y.shape)
            np.testing.assert_allclose(rest, sigma * n, atol=2e-6)
            assert rest.std() == pytest.approx(sigma, rel=0.06)
            assert m.noise["sigma"] == sigma
            _, physics = tensors(m)
            again = physics.A(torch.from_numpy(x)[None])[0].numpy()
            np.testing.assert_allclose(m.y - again, sigma * n, atol=2e-6)
            used.add(index)
    assert len(used) > 1


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_padded_kernel_blurs_as_the_unpadded_one(boundary):
    padded = torch.from_numpy(stack()).double()[:, None]
    assert padded.shape == (len(KERNELS), 1, SIDE, SIDE)
    for height, width in ((32, 48), (45, 37)):
        x = RNG.random((3, height, width))
        for index, kernel in enumerate(KERNELS):
            physics = blur.blur(padded[index : index + 1], 0.03, boundary, x.shape)
            y = physics.A(torch.from_numpy(x)[None])[0].numpy()
            np.testing.assert_allclose(y, blurred(x, kernel, boundary), atol=1e-7)


def test_matlabs_orientation(tmp_path):
    """A point below the centre in MATLAB moves the image down, from a file of either version."""
    down = np.zeros((5, 3))
    down[4, 1] = 1
    for name, write in (("v5.mat", write_v5), ("v73.mat", write_v73)):
        write(tmp_path / name, down)
        (kernel,) = kernel_files.read(tmp_path / name)
        x = np.zeros((1, 12, 12))
        x[0, 6, 6] = 1
        found = kernels.normalised_stack([kernel], "test", lambda _: None).astype(np.float64)
        physics = blur.blur(torch.from_numpy(found)[None], 0.03, "circular", x.shape)
        y = physics.A(torch.from_numpy(x)[None])[0, 0]
        assert divmod(int(y.argmax()), 12) == (8, 6)


def write_v5(path, kernel):
    scipy.io.savemat(path, {"psf": kernel})


def write_v73(path, kernel):
    with h5py.File(path, "w") as file:
        file.create_dataset("psf", data=kernel.T)


def problem(boundary="circular", sigma=(0.01, 0.1)):
    key = noise.public_key(0, "many", "train")
    return Problem.of_kernels(stack(), sigma, boundary=boundary, key=key)


def test_the_kernels_are_drawn_alike_and_the_levels_uniformly():
    count, size = len(KERNELS), 1200
    low, high = 0.01, 0.1
    found = [drawn(problem().key, "train", n, count, (low, high)) for n in range(size)]
    counts = Counter(index for index, _ in found)
    expected = size / count
    chi2 = sum((counts[index] - expected) ** 2 / expected for index in range(count))
    assert chi2 < 20.5  # 5 degrees of freedom: once in a thousand
    levels = np.sort([level for _, level in found])
    even = low + (high - low) * (np.arange(size) + 0.5) / size
    assert np.abs(levels - even).max() < 1.95 * (high - low) / np.sqrt(size)  # Kolmogorov, 0.1 %
    assert abs(np.corrcoef(np.array(found).T)[0, 1]) < 0.1


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_batch_with_many_kernels_is_its_images(boundary):
    x = torch.from_numpy(RNG.random((7, 3, 32, 24), dtype=np.float32))
    samples = [5, 900, 0, 41, 7, 8, 12]
    y, physics = problem(boundary).measure(x, samples)
    assert physics.filter.shape == (7, 1, SIDE, SIDE)
    assert physics.noise_model.sigma.shape == (7,)
    assert len({each.numpy().tobytes() for each in physics.filter}) > 2
    for number, sample in enumerate(samples):
        here = slice(number, number + 1)
        alone, single = problem(boundary).measure(x[here], [sample])
        torch.testing.assert_close(alone, y[here], rtol=0, atol=1e-6)
        assert torch.equal(single.filter, physics.filter[here])
        assert torch.equal(single.noise_model.sigma, physics.noise_model.sigma[here])
        back = physics.A_adjoint(y)[here]
        torch.testing.assert_close(single.A_adjoint(y[here]), back, rtol=0, atol=1e-6)
        if boundary == "circular":
            whole = physics.prox_l2(x, y, 3.0)[here]
            torch.testing.assert_close(
                single.prox_l2(x[here], y[here], 3.0), whole, rtol=0, atol=1e-5
            )


def test_a_fixed_level_is_the_same_everywhere(tmp_path, prepare, photographs):
    """12.75 grey levels of 255: the level at which results on these kernels are published."""
    mat_v73(tmp_path / "k.mat")
    text = TEXT.format(path=photographs, file="k.mat", boundary="circular", sigma=[0.01, 0.1])
    made = prepare(text, f"operator.kernel.file={tmp_path / 'k.mat'}", "noise.sigma=0.05")
    challenge = open_challenge(made.public.path)
    found = [challenge.measurement(split, each)
             for split in ("val", "test") for each in challenge.ids(split)]  # fmt: skip
    assert {each.noise["sigma"] for each in found} == {12.75 / 255}
    assert len({each.operator["kernel"].tobytes() for each in found}) > 1
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    _, physics = challenge.problem.measure(x, [0, 1, 2])
    assert physics.noise_model.sigma.tolist() == [pytest.approx(0.05)]


def test_the_sheet_shows_what_was_measured(tmp_path, prepare, photographs):
    mat_v5(tmp_path / "k.mat")
    file = tmp_path / "k.mat"
    made = prepare(TEXT.format(path=photographs, file=file, boundary="valid", sigma=[0.01, 0.1]))
    challenge = open_challenge(made.public.path)
    identities = challenge.ids("val")
    sheet = contact_sheet.Sheet("many: val, truth | measurement", len(identities))
    for identity in identities:
        m = challenge.measurement("val", identity)
        truth = codec.stored(made.public.image("val", identity))
        sheet.add(identity, truth, contact_sheet.to_picture(m.y))
    assert made.public.sheet("val").read_bytes() == sheet.png()


def test_one_kernel_for_all_is_the_published_way_one_at_a_time(tmp_path, prepare, photographs):
    """`pick` makes a challenge of one kernel, of the form that it has among the others."""
    mat_v73(tmp_path / "k.mat")
    text = TEXT.format(path=photographs, file=tmp_path / "k.mat", boundary="circular", sigma=0.05)
    made = prepare(text, "operator.kernel.pick=2")
    found = open_challenge(made.public.path).problem.arrays["kernels"]
    expected = kernels.normalised_stack([KERNELS[2]], "test", lambda _: None)
    assert np.array_equal(found, expected)
    x = RNG.random((3, 40, 40))
    y, _ = Problem.of_kernels(found, 1e-9).measure(torch.from_numpy(x).float()[None], [0])
    np.testing.assert_allclose(y[0], blurred(x, KERNELS[2], "circular"), atol=1e-6)


def test_an_npz_lists_kernels_by_their_numbers(tmp_path):
    many = [np.full((3, 3), float(number)) for number in range(12)]
    np.savez(tmp_path / "k.npz", *many)
    assert [each[0, 0] for each in kernel_files.read(tmp_path / "k.npz")] == [
        *map(float, range(12))
    ]
    np.savez(tmp_path / "k.npz", k2=many[2], k1=many[1], kernels=many[7])
    assert [each[0, 0] for each in kernel_files.read(tmp_path / "k.npz")] == [7.0]
