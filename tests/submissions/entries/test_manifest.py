"""Numbers of a stranger's manifest stand on pages and in tables: none is too large for them."""

import json

import pytest

from challenge.submissions.entries import manifest

TRAINING = {
    "source": "builtin", "images": 400, "seed": 2**63 - 1, "seconds": 86_400.0,
    "peak_memory": 10**11, "machine": "one",
}  # fmt: skip
PART = {"method": "drunet", "source": "run d/drunet", "sha256": "a" * 64, "size": 10**9}
ROUNDED = {"dtype": "float16", "images": 8, "psnr_before": 30.0, "psnr_after": 29.99}
MEMBER = {"sha256": "a" * 64, "size": 10**9}


def content(**changed):
    given = {
        "format": 1, "team": "alpha", "name": "tv", "versions": {"torch": "2"},
        "challenge": {"name": "deblur", "hash": "b" * 64},
        "uses": {"pretrained": False, "external_data": False},
        "training": TRAINING, "parts": {"denoiser": PART}, "rounded": ROUNDED,
        "files": {"entry.yaml": MEMBER},
    }  # fmt: skip
    return json.dumps(given | changed).encode()


def test_numbers_of_an_honest_training_are_read():
    assert manifest.parse(content()).training.seed == 2**63 - 1


@pytest.mark.parametrize(
    "value",
    [10**30, 10**4000, float("inf"), float("nan"), -float("inf")],
    ids=["31 digits", "4001 digits", "inf", "nan", "-inf"],
)
@pytest.mark.parametrize(("key", "given", "numbers"), [
    ("training", TRAINING, ("images", "seed", "seconds", "peak_memory")),
    ("rounded", ROUNDED, ("images", "psnr_before", "psnr_after")),
    ("parts", PART, ("size",)),
    ("files", MEMBER, ("size",)),
])  # fmt: skip
def test_a_number_that_no_page_has_room_for_is_refused_in_one_line(key, given, numbers, value):
    for number in numbers:
        changed = given | {number: value}
        section = {"x": changed} if key in ("parts", "files") else changed
        with pytest.raises(ValueError, match=number) as caught:
            manifest.parse(content(**{key: section}))
        assert len(str(caught.value).splitlines()) == 1
