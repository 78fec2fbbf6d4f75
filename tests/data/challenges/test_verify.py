"""`seal` looks at all that was published: every file, and that y follows from truth and key."""

import io
import json
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from challenge.configs.errors import UserError
from challenge.configs.loader import load_challenge
from challenge.configs.schema.challenge import Terms
from challenge.data.challenges import rules, seal
from challenge.data.challenges.challenge import open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.challenges.verify import TOLERANCE, verify
from challenge.data.hashing import digest, digest_json
from challenge.data.layout import Workspace
from challenge.data.physics import measurements

IMAGES = "images: {source: builtin, size: 40, train: 4, val: 1, test: 1}"
BLUR = "{kind: blur, kernel: {kind: gaussian, std: 1.0}, boundary: circular}"
KINDS = {
    "blur": (BLUR, "{kind: gaussian, sigma: 0.03}"),
    "poisson": (BLUR, "{kind: poisson, gain: 0.02}"),
    "both": (BLUR, "{kind: poisson_gaussian, gain: 0.02, sigma: 0.01}"),
    "inpainting": (
        "{kind: inpainting, mask: {keep: 0.5}}",
        "{kind: gaussian, sigma: [0.01, 0.05]}",
    ),
    "downsampling": ("{kind: downsampling}", "{kind: gaussian, sigma: 0.01}"),
}


def made(folder, kind):
    operator, noise = KINDS[kind]
    text = f"name: tiny\n{IMAGES}\noperator: {operator}\nnoise: {noise}\n"
    (folder / "tiny.yaml").write_text(text)
    config, source = load_challenge(str(folder / "tiny.yaml"))
    place = Workspace(folder / "workspace")
    prepare(config, source, place, progress=lambda *_: None, notice=lambda _: None)
    return place


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return made(tmp_path_factory.mktemp("whole"), "blur")


@pytest.fixture
def place(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


def verified(place):
    public, hidden = place.public("tiny"), place.hidden("tiny")
    seal.verify(public, hidden)
    return verify(public, hidden)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_prepared_is_verified_bit_for_bit(tmp_path, kind):
    done = verified(made(tmp_path, kind))
    assert (done.measurements, done.difference) == (2, 0.0)
    named = ("manifest.json", "challenge.yaml", "rules.yaml", "operator.npz")
    assert done.files == 4 + 2 + 2 + len(named)


def hash_anew(place):
    """As a careful cheat does, who publishes another manifest and another seal."""
    public, hidden = place.public("tiny"), place.hidden("tiny")
    record = json.loads(hidden.seal.read_text())
    parts = {name: value for name, value in record.items() if name != "seal"}
    parts |= {
        "images": {each: digest(hidden.image(each)) for each in hidden.ids()},
        "measurements": {each: digest(hidden.measurement(each)) for each in hidden.measured()},
        "key": digest(hidden.key),
    }
    record = {**parts, "seal": digest_json(parts)}
    hidden.seal.write_text(json.dumps(record))
    manifest = json.loads(public.manifest.read_text())
    manifest["seal"] = record["seal"]
    manifest["files"] = {name: digest(public.path / name) for name in manifest["files"]}
    public.manifest.write_text(json.dumps(manifest))
    terms = Terms.model_validate(manifest["terms"])
    standing = rules.Standing(terms, (), digest(public.manifest), datetime.now(UTC))
    for path in (public.rules, hidden.rules):
        rules.write(path, standing)


def measurement(by, split):
    def change(place):
        public, hidden = place.public("tiny"), place.hidden("tiny")
        identity = hidden.ids()[0] if split == "test" else open_challenge(public.path).ids("val")[0]
        path = (
            hidden.measurement(identity) if split == "test" else public.measurement("val", identity)
        )
        found = measurements.read(path)
        found.y[0, 3, 3] += by
        path.write_bytes(measurements.to_bytes(found))

    return change


def operator(place):
    path = place.public("tiny").operator
    with np.load(path) as stored:
        arrays = {name: stored[name][..., ::-1] * np.float32(0.9) for name in stored}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


def said(key, old, new):
    def change(place):
        path = place.public("tiny").config
        before = path.read_text()
        assert old in before, key
        path.write_text(before.replace(old, new))

    return change


CHANGES = {
    "a measurement of val": (measurement(0.1, "val"), "does not follow from truth, operator"),
    "a measurement of test": (measurement(0.1, "test"), "does not follow from truth, operator"),
    "the operator": (operator, "has another `operator.kernel`"),
    "the noise": (said("noise", "sigma: 0.03", "sigma: 0.02"), "has another `noise.sigma`"),
    "the seed": (said("seed", "seed: 0", "seed: 1"), "does not follow from truth, operator"),
    "the key": (
        lambda place: place.hidden("tiny").key.write_bytes(bytes(32)),
        "does not follow from truth, operator and key",
    ),
    "the truth": (
        lambda place: [
            path.write_bytes(next((place.public("tiny").path / "train").iterdir()).read_bytes())
            for path in (place.hidden("tiny").path / "test").glob("*.png")
        ],
        "does not follow from truth",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_is_named_also_where_all_hashes_were_made_anew(place, what):
    change, expected = CHANGES[what]
    change(place)
    with pytest.raises(UserError, match=r"was changed|is missing"):
        verified(place)
    hash_anew(place)
    with pytest.raises(UserError, match=expected):
        verified(place)


def test_the_last_digits_of_another_machine_are_no_change(place):
    measurement(TOLERANCE / 10, "test")(place)
    hash_anew(place)
    assert 0 < verified(place).difference <= TOLERANCE


FILES = {
    "metric": (said("metric", "crop: 0", "crop: 8"), "challenge.yaml: was changed|sealed was"),
    "seed": (said("seed", "seed: 0", "seed: 1"), "challenge.yaml: was changed"),
    "a picture": (
        lambda place: next((place.public("tiny").path / "train").iterdir()).write_bytes(b"x"),
        "was changed since",
    ),
    "a sheet": (lambda place: place.public("tiny").sheet("val").unlink(), "is missing"),
    "one more picture": (
        lambda place: (place.public("tiny").path / "train" / "x.png").write_bytes(b""),
        "does not belong",
    ),
    "one more file": (
        lambda place: (place.public("tiny").path / "kernels.npz").write_bytes(b""),
        "kernels.npz: does not belong",
    ),
    "one deeper": (
        lambda place: (
            (place.public("tiny").path / "a/b").mkdir(parents=True),
            (place.public("tiny").path / "a/b/c").write_bytes(b""),
        ),
        "does not belong",
    ),
    "a link": (
        lambda place: (place.public("tiny").path / "x").symlink_to("/"),
        "does not belong",
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_every_file_of_the_public_folder_is_looked_at(place, what):
    change, expected = FILES[what]
    change(place)
    with pytest.raises(UserError, match=expected):
        verified(place)


def test_what_a_system_leaves_is_no_file_of_the_challenge(place):
    (place.public("tiny").path / ".DS_Store").write_bytes(b"")
    # Advice that `prepare` puts beside a larger test set, no part of what is sealed.
    place.public("tiny").resolution.write_text("{}")
    assert verified(place).difference == 0


def test_an_older_format_is_verified(place, to_format_1):
    to_format_1(place.public("tiny"), place.hidden("tiny"))
    assert verified(place).measurements == 2
