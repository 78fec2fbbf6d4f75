"""The laws of every operator family, over the whole table and all boundary rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from challenge.configs.errors import UserError
from challenge.configs.schema import physics as schema
from challenge.data import noise
from challenge.data.physics import families, measurements, noise_models
from challenge.data.physics.families import FAMILIES
from challenge.data.physics.problem import Problem, tensors

GAUSSIAN = {"kind": "gaussian", "sigma": [0.02, 0.05]}
NOISE = {
    "gaussian": GAUSSIAN,
    "poisson": {"kind": "poisson", "gain": [0.005, 0.02]},
    "poisson_gaussian": {"kind": "poisson_gaussian", "gain": 0.01, "sigma": [0.01, 0.02]},
}
SHAKES = {"kind": "motion", "size": 7, "count": 3}
OPERATORS = {
    **{kind: family.example for kind, family in FAMILIES.items()},
    **{
        f"blur, {boundary}": {"kind": "blur", "kernel": SHAKES, "boundary": boundary}
        for boundary in ("circular", "valid", "reflect")
    },
    **{
        f"downsampling by {factor}, {kernel['kind']}, {boundary}": {
            "kind": "downsampling", "factor": factor, "kernel": kernel, "boundary": boundary,
        }
        for factor, kernel, boundary in (
            (2, {"kind": "bicubic"}, "reflect"), (3, {"kind": "bicubic"}, "circular"),
            (4, {"kind": "box"}, "circular"), (3, {"kind": "box"}, "reflect"),
            (2, {"kind": "gaussian", "std": 1.2}, "circular"),
        )
    },
    "inpainting, a range": {"kind": "inpainting", "mask": {"keep": [0.2, 0.8]}},
    "compose, valid": {
        "kind": "compose",
        "operators": [
            {"kind": "blur", "kernel": SHAKES, "boundary": "valid"},
            {"kind": "downsampling", "factor": 2},
            {"kind": "identity"},
        ],
    },
    "compose, downsampling first": {
        "kind": "compose",
        "operators": [
            {"kind": "downsampling", "factor": 2},
            {"kind": "blur", "kernel": SHAKES, "boundary": "valid"},
        ],
    },
    "inpainting, given masks": {"kind": "inpainting", "mask": {"file": "given"}},
    "inpainting, a mask for every colour": {"kind": "inpainting", "mask": {"file": "given"}},
    "compose, two valid blurs": {
        "kind": "compose",
        "operators": [{"kernel": SHAKES, "boundary": "valid"} for _ in range(2)],
    },
    "compose, inpainting first": {
        "kind": "compose",
        "operators": [{"kind": "inpainting", "mask": {"keep": 0.5}}, {"kernel": SHAKES}],
    },
    "compose, inpainting last": {
        "kind": "compose",
        "operators": [{"kernel": SHAKES}, {"kind": "inpainting", "mask": {"keep": 0.5}}],
    },
}  # fmt: skip
GIVEN = {
    "inpainting, given masks": np.random.default_rng(1).random((2, 1, 36, 48)) < 0.6,
    "inpainting, a mask for every colour": np.random.default_rng(2).random((2, 3, 36, 48)) < 0.6,
}
"""Masks, in place of those of a file."""
EVERY = pytest.mark.parametrize("name", OPERATORS)
SHAPE = (3, 36, 48)
COMPLEX = (2, 36, 48)
"""Of images, for families that take colours and for those that do not."""
KEY = bytes(range(32))


def shape_of(section):
    """Of the images of a section."""
    return SHAPE if 3 in FAMILIES[section.get("kind", "blur")].channels else COMPLEX


def problem(section, level=GAUSSIAN):
    config = TypeAdapter(schema.Operator).validate_python(section)
    family, channels = families.of(config), shape_of(section)[0]
    given = next((GIVEN[name] for name in GIVEN if OPERATORS[name] is section), None)
    arrays = (
        {"masks": given}
        if given is not None
        else family.load(config, (channels, 48, 48), None, lambda _: None)
    )
    noisy = TypeAdapter(schema.Noise).validate_python(level)
    return Problem("p", channels, config, arrays, noisy, KEY, family.border(config, arrays))


def images(count, shape=SHAPE, seed=0):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def drawn(p, identities, shape=SHAPE):
    family = families.of(p.operator)
    return [
        family.draw(p.operator, p.arrays, shape, noise.choices(KEY, "train", each))
        for each in identities
    ]


def doubled(parameters):
    """The parameters of a batch in double precision."""
    return {
        each: value.double() if torch.is_tensor(value) and value.is_floating_point() else value
        for each, value in parameters.items()
    }


@pytest.mark.parametrize("batch", [1, 3])
@EVERY
def test_the_adjoint(name, batch):
    """<A u, v> = <u, A^T v> to 1e-6 of |A u| |v|, in double precision, for every image."""
    p, shape = problem(OPERATORS[name]), shape_of(OPERATORS[name])
    physics = families.of(p.operator).build(
        doubled(families.batched(drawn(p, range(batch), shape))), shape
    )
    u = images(batch, shape, seed=1).double() - 0.5
    seen = physics.A(u)
    v = images(batch, seen.shape[1:], seed=2).double() - 0.5
    back = physics.A_adjoint(v)
    assert back.shape == u.shape
    left, right = (seen * v).sum((1, 2, 3)), (u * back).sum((1, 2, 3))
    scale = seen.flatten(1).norm(dim=1) * v.flatten(1).norm(dim=1)
    assert ((left - right).abs() <= 1e-6 * scale).all()


FULL_RANK = {
    "identity": {"kind": "identity"},
    **{
        f"blur, {boundary}": {"kernel": {"kind": "gaussian", "std": 0.5}, "boundary": boundary}
        for boundary in ("circular", "reflect")
    },
    "mri, all sampled": {"kind": "mri", "acceleration": 1},
    "inpainting, all seen": {"kind": "inpainting", "mask": {"keep": 1.0}},
    "compose": {
        "kind": "compose",
        "operators": [{"kernel": {"kind": "gaussian", "std": 0.4}}, {"kind": "identity"}],
    },
}


@pytest.mark.parametrize("name", FULL_RANK)
def test_the_pseudo_inverse_is_the_inverse_where_there_is_one(name):
    """In double precision, as exactly as deepinv's iterations are asked to be."""
    p = problem(FULL_RANK[name])
    shape = shape_of(FULL_RANK[name])
    x = images(2, shape).double()
    parameters = doubled(families.batched(drawn(p, range(2), shape)))
    physics = families.of(p.operator).build(parameters, shape)
    found = physics.A_dagger(physics.A(x), max_iter=1000, tol=1e-11)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-5)


@EVERY
def test_parameters_follow_from_key_id_and_draw_alone(name):
    """Whatever else is in the batch, and in what order."""
    p = problem(OPERATORS[name])
    shape = shape_of(OPERATORS[name])
    x, samples = images(4, shape), [7, 0, 10**9, 3]
    y, physics = p.measure(x, samples)
    turned, _ = p.measure(x.flip(0), samples[::-1])
    torch.testing.assert_close(turned.flip(0), y, rtol=0, atol=1e-6)
    for index, sample in enumerate(samples):
        alone, single = p.measure(x[index : index + 1], [sample])
        torch.testing.assert_close(alone[0], y[index], rtol=0, atol=1e-6)
        state, own = physics.state_dict(), single.state_dict()
        for part in own:
            # What is drawn; spectra are computed from it.
            drawn_here = part.rpartition(".")[2] in ("filter", "mask", "sigma", "gain")
            if drawn_here and own[part].dim():
                place = index if len(state[part]) > 1 else 0
                assert torch.equal(own[part][0], state[part][place]), part
    one, other = drawn(p, [1, 1], shape)
    assert all(np.array_equal(one[each], other[each]) for each in one)


def pairs():
    """Operators with every noise that they take: photons are for values that are not negative."""
    for name, section in OPERATORS.items():
        p = problem(section)
        low, _ = families.of(p.operator).range(p.operator, p.arrays)
        yield from ((name, level) for level in NOISE if level == "gaussian" or low > -1e-6)


@pytest.mark.parametrize(("name", "level"), pairs())
def test_stored_and_simulated_measurements_are_equal_bit_for_bit(name, level):
    p = problem(OPERATORS[name], NOISE[level])
    shape = shape_of(OPERATORS[name])
    x = images(1, shape)
    made = p.measure_stored(x[0].numpy(), "0007", KEY)
    content = measurements.to_bytes(made)
    assert content == measurements.to_bytes(p.measure_stored(x[0].numpy(), "0007", KEY))
    read = measurements.from_bytes(content)
    assert (read.identity, read.shape) == ("0007", shape)
    assert read.operator.keys() == made.operator.keys()
    assert read.noise == made.noise
    y, physics = tensors(read)
    assert torch.equal(y[0], torch.from_numpy(made.y))
    again = noise_models.add(physics, x, p.noise.kind, KEY, [("0007", 0)])
    assert torch.equal(again, y)
    simulated, _ = p.measure(x, [5])
    stored_sample = p.measure_stored(x[0].numpy(), "train", KEY, 5)
    assert torch.equal(simulated[0], torch.from_numpy(stored_sample.y))


@EVERY
def test_range_shape_and_picture(name):
    p, shape = problem(OPERATORS[name]), shape_of(OPERATORS[name])
    family = families.of(p.operator)
    low, high = family.range(p.operator, p.arrays)
    (parameters,) = drawn(p, [4], shape)
    physics = families.build(p.operator.kind, [parameters], shape)
    for seed in range(5):
        clean = physics.A((images(1, shape, seed=seed) > 0.5).float())
        assert low - 1e-5 <= clean.min()
        assert clean.max() <= high + 1e-5
    assert family.measured(parameters, shape) == tuple(clean.shape[1:])
    picture = family.picture(clean[0].numpy(), parameters, shape)
    lost = 2 * p.border
    assert picture.shape == (shape[0], shape[1] - lost, shape[2] - lost)
    portrait = family.portrait(parameters)
    if portrait is not None:
        assert portrait[0].min() >= 0
        assert portrait[0].max() <= 1
        assert len(portrait[1]) < 40
    assert family.wrong(parameters, shape) == ""


def inside(kernel, factor):
    section = {"kind": "downsampling", "factor": factor, "kernel": kernel, "boundary": "reflect"}
    p = problem(section)
    return families.build("downsampling", drawn(p, [0]), (1, 48, 48))


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize(
    "kernel", [{"kind": "bicubic"}, {"kind": "box"}, {"kind": "gaussian", "std": 1.5}], ids=str
)
def test_downsampling_does_not_shift(kernel, factor):
    """A ramp, away from the border, has in every large pixel its value at that pixel's centre."""
    rows = torch.arange(48.0)[:, None].expand(48, 48)
    for ramp in (rows, rows.T):
        small = inside(kernel, factor).A(ramp[None, None])[0, 0]
        centres = torch.nn.functional.avg_pool2d(ramp[None, None], factor)[0, 0]
        torch.testing.assert_close(small[3:-3, 3:-3], centres[3:-3, 3:-3], rtol=0, atol=1e-4)


def test_bicubic_downsampling_is_that_of_others():
    """torch's antialiased interpolation, which is PIL's and MATLAB's, away from the border."""
    x = images(1, (1, 48, 48))
    for factor in (2, 3, 4):
        small = inside({"kind": "bicubic"}, factor).A(x)
        size = (48 // factor, 48 // factor)
        theirs = torch.nn.functional.interpolate(x, size, mode="bicubic", antialias=True)
        torch.testing.assert_close(
            small[..., 3:-3, 3:-3], theirs[..., 3:-3, 3:-3], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("level", NOISE)
def test_noise_has_the_moments_of_its_model(level):
    """Mean A x; variance sigma^2, gain A x, or both; and deepinv's model has the same."""
    fixed = {"gaussian": {"sigma": 0.04}, "poisson": {"gain": 0.02},
             "poisson_gaussian": {"gain": 0.02, "sigma": 0.04}}[level]  # fmt: skip
    p = problem({"kind": "identity"}, {"kind": level, **fixed})
    for value in (0.05, 0.9):
        x = torch.full((1, 3, 200, 200), value)
        y, physics = p.measure(x, [3])
        variance = fixed.get("sigma", 0) ** 2 + fixed.get("gain", 0) * value
        count = y.numel()
        for found in (y, physics.noise_model(x)):
            assert abs(found.mean() - value) < 5 * math.sqrt(variance / count)
            assert abs(found.var() / variance - 1) < 0.06
        if level == "poisson":
            counts = y / 0.02
            torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-4)


def test_what_is_not_seen_has_no_noise():
    for section in (OPERATORS["inpainting"], OPERATORS["compose, inpainting last"]):
        y, physics = problem(section).measure(images(2), [0, 1])
        last = physics.physics_list[-1] if section["kind"] == "compose" else physics
        unseen = (last.mask == 0).expand_as(y)
        assert not y[unseen].any()
        assert (y[~unseen] != 0).all()


def test_a_range_of_keeps_is_drawn_for_each_image():
    p = problem({"kind": "inpainting", "mask": {"keep": [0.2, 0.8]}})
    shares = [float(each["mask"].mean()) for each in drawn(p, range(60), (3, 64, 64))]
    assert min(shares) < 0.3
    assert max(shares) > 0.7


def masks(tmp_path, values, suffix=".npy"):
    path = tmp_path / f"mask{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    else:
        from PIL import Image

        Image.fromarray(values).save(path)
    return path


def load(path, side=48, channels=3):
    config = schema.Inpainting(kind="inpainting", mask={"file": str(path)})
    return config, FAMILIES["inpainting"].load(config, (channels, side, side), None, lambda _: None)


def test_given_masks_are_taken_whole_or_in_part(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.random((3, 48, 48)) < 0.5
    config, arrays = load(masks(tmp_path, values))
    assert np.array_equal(arrays["masks"][:, 0], values)
    family = FAMILIES["inpainting"]
    found, places = set(), set()
    for draw in range(12):
        whole = family.draw(config, arrays, (3, 48, 48), noise.choices(KEY, "a", draw))["mask"]
        found.add(next(index for index in range(3) if np.array_equal(values[index], whole[0])))
        part = family.draw(config, arrays, (3, 20, 20), noise.choices(KEY, "a", draw))["mask"]
        windows = np.lib.stride_tricks.sliding_window_view(values, (20, 20), axis=(1, 2))
        places.add(tuple(np.argwhere((windows == part).all((-2, -1)))[0][1:].tolist()))
        larger = family.draw(config, arrays, (3, 60, 70), noise.choices(KEY, "a", draw))["mask"]
        assert larger.shape == (1, 60, 70)
    assert found == {0, 1, 2}
    assert all(len(set(each)) > 3 for each in zip(*places, strict=True))


def test_a_mask_may_be_a_picture_or_have_colours(tmp_path):
    scratches = np.full((48, 48), 255, np.uint8)
    scratches[10:14] = 0
    _, arrays = load(masks(tmp_path, scratches, ".png"))
    assert np.array_equal(arrays["masks"][0, 0], scratches > 0)
    # In 16 bits too, half of the largest value is where seen begins.
    for level, seen in ((400, False), (30000, False), (40000, True)):
        deep = np.where(scratches > 0, 65535, level).astype(np.uint16)
        _, arrays = load(masks(tmp_path, deep, ".png"))
        assert np.array_equal(arrays["masks"][0, 0], (scratches > 0) | seen)
    (tmp_path / "text.png").write_text("mask")
    with pytest.raises(UserError, match="is no picture"):
        load(tmp_path / "text.png")
    bayer = np.zeros((1, 3, 48, 48))
    bayer[0, 0, ::2, ::2] = bayer[0, 1, ::2, 1::2] = bayer[0, 1, 1::2, ::2] = 1
    bayer[0, 2, 1::2, 1::2] = 1
    config, arrays = load(masks(tmp_path, bayer))
    p = Problem("p", 3, config, arrays, schema.GaussianNoise(sigma=0.01), KEY, 0)
    y, physics = p.measure(images(2, (3, 48, 48)), [0, 1])
    assert physics.mask.shape[1:] == (3, 48, 48)
    assert (y != 0).float().mean() == pytest.approx(1 / 3, abs=1e-3)


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        (np.ones((40, 48)), "its masks have 40x48 pixels, the images have 48x48"),
        (np.zeros((48, 48)), "has a mask that sees nothing"),
        (np.full((48, 48), np.nan), "holds float64"),
        (np.ones((1, 2, 48, 48)), "has 1 masks for 2 channels, the images have 3"),
        (np.ones((0, 48, 48)), "has 0 masks for 1 channels"),
        (np.ones(48), "has shape (48,)"),
        (np.array([["a"] * 48] * 48), "holds <U1"),
    ],
    ids=["size", "black", "nan", "two channels", "none", "line", "text"],
)
def test_a_wrong_mask_is_refused_in_one_line(tmp_path, values, cause):
    with pytest.raises(UserError) as caught:
        load(masks(tmp_path, values))
    assert cause in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def stored(name, level="gaussian", **changes):
    p = problem(OPERATORS[name], NOISE[level])
    m = p.measure_stored(images(1)[0].numpy(), "a", KEY)
    fields = {"y": m.y, "shape": m.shape, "operator": m.operator, "noise": m.noise}
    for each, value in changes.items():
        fields[each] = {**fields[each], **value} if isinstance(value, dict) else value
    return measurements.to_bytes(measurements.Measurement("a", **fields))


WRONG = {
    "mask of another size": ("inpainting", {"operator": {"mask": np.ones((1, 36, 40), bool)}}),
    "mask of numbers": ("inpainting", {"operator": {"mask": np.ones((1, 36, 48), np.float32)}}),
    "factor": ("downsampling", {"operator": {"factor": 5}}),
    "factor of another kind": ("downsampling", {"operator": {"factor": 2.0}}),
    "zero kernel": ("downsampling", {"operator": {"kernel": np.zeros((5, 5), np.float32)}}),
    "factor that does not divide": ("downsampling", {"shape": (3, 37, 48)}),
    "even kernel": ("downsampling", {"operator": {"kernel": np.ones((4, 4), np.float32)}}),
    "unknown family": ("identity", {"operator": {"kind": "tomography"}}),
    "unknown noise": ("identity", {"noise": {"kind": "rain"}}),
    "no sigma": ("identity", {"noise": {"kind": "gaussian", "sigma": None}}),
    "part of a composition": ("compose", {"operator": {"1.factor": 3}}),
    "unknown part": ("compose", {"operator": {"0.kind": "tomography"}}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_measurement_is_refused_in_one_line(name):
    which, changes = WRONG[name]
    with pytest.raises(UserError) as caught:
        measurements.from_bytes(stored(which, **changes), "x.npz")
    assert len(str(caught.value).splitlines()) == 1


def test_photons_are_never_negative_and_have_a_gain():
    y = measurements.from_bytes(stored("identity", "poisson")).y
    for changes, cause in (
        ({"y": y - 0.5}, "Poisson noise has no negative values"),
        ({"noise": {"gain": 0.0}}, "gain is `0.0`"),
    ):
        with pytest.raises(UserError, match=cause):
            measurements.from_bytes(stored("identity", "poisson", **changes), "x.npz")


def test_a_measurement_of_format_1_is_read():
    """As the toolkit wrote it when there were blurs only."""
    import io

    rng = np.random.default_rng(0)
    y, kernel = rng.random((3, 16, 20), dtype=np.float32), np.full((5, 5), 0.04, np.float32)
    buffer = io.BytesIO()
    np.savez(
        buffer, format=np.int64(1), identity=np.array("0003"), y=y, kernel=kernel,
        sigma=np.float64(0.03), boundary=np.array("valid"), shape=np.array([3, 20, 24]),
    )  # fmt: skip
    m = measurements.from_bytes(buffer.getvalue())
    assert (m.identity, m.shape, m.noise) == (
        "0003",
        (3, 20, 24),
        {"kind": "gaussian", "sigma": 0.03},
    )
    batch, physics = tensors(m)
    assert torch.equal(batch[0], torch.from_numpy(y))
    assert physics.padding == "valid"
    assert torch.equal(physics.filter[0, 0], torch.from_numpy(kernel))


PINNED = (0.026047671296809845, 0.11740416288375854, 0.40860500931739807, 0.7403368353843689)
"""Sigma, and one pixel's colours, as they were before there were other families."""


def test_the_measurements_of_a_blur_stay_what_they_are():
    """A prepared challenge and a stored run live on them: a change of these is one of format."""
    kernel = np.outer(*2 * [np.array([1, 4, 6, 4, 1], np.float32) / 16])[None]
    x = np.linspace(0, 1, 3 * 12 * 12, dtype=np.float32).reshape(3, 12, 12)
    p = Problem.of_kernels(kernel, (0.02, 0.05))
    m = p.measure_stored(x, "0001", KEY)
    np.testing.assert_allclose(m.y[:, 3, 4], PINNED[1:], rtol=0, atol=1e-6)
    assert m.noise["sigma"] == pytest.approx(PINNED[0], abs=1e-12)
