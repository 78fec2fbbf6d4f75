"""The page of rules says what the YAML file says, for every packaged challenge."""

import pytest

from challenge.configs.loader import load_challenge
from challenge.configs.paths import names
from challenge.submissions.entries.rules_sheet import WIDTH, sheet
from challenge.submissions.scoring import foreseen, ranking
from challenge.submissions.scoring.foreseen import Foreseen

CHANGED = {
    "limits.weights_mb=37": "37 MB",
    "limits.minutes=7.5": "7.5 min",
    "limits.threads=13": "CPU threads: 13",
    "limits.memory_gb=11": "memory: 11 GB",
    "rules.pretrained=forbidden": "Pretrained networks: forbidden",
    "rules.external_data=forbidden": "other training images: forbidden",
    "rules.entries_per_day=3": "at most 3 valid entries",
    "rules.deadline=2026-12-04T18:00:00+01:00": "Deadline: 2026-12-04 17:00 UTC",
    "rules.counts=best": "the one with the best score",
    "rules.packages=[einops, timm]": "einops, timm",
    "rules.judges=same_machine_kind": "the same kind of processor",
    "rules.test_measurements=published": "published with the public folder",
    "rules.final_share=0.43": "all but 43% of the test images",
    "metric.crop=9": "9 pixels at every side",
    "images.test=31": "31 images",
    "images.val=5": "truth: 5",
    "images.train=77": "77 colour images",
    "images.mode=grey": "grey images",
    "noise.sigma=0.0421": "0.0421",
}


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize("name", sorted(names("challenges")))
def test_every_challenge_has_its_rules_on_one_page(name):
    config, _ = load_challenge(name, [])
    text = sheet(config)
    assert f"`{config.name}`" in text.splitlines()[0]
    assert len(text.splitlines()) <= 55
    assert max(map(len, text.splitlines())) <= WIDTH
    for title in ("What is given", "Limits of an entry", "How it is scored", "What counts"):
        assert f"\n## {title}\n" in text
    assert config.operator.kind in text and config.noise.kind in text
    assert sheet(config) == text


@pytest.mark.parametrize("setting", CHANGED)
def test_what_the_file_says_is_on_the_page(setting):
    before, after = (words(sheet(load_challenge("deblur", given)[0])) for given in ([], [setting]))
    assert CHANGED[setting] in after
    assert CHANGED[setting] not in before


def test_the_best_entry_is_said_to_be_chosen_during_the_week():
    chosen = "best score on the images of the week, on the last day with its score on the others"
    for given in (
        ["rules.counts=best"],
        ["rules.final_share=0.5"],
        ["rules.final_share=0.5", "rules.counts=best"],
    ):
        text = words(sheet(load_challenge("deblur", given)[0]))
        assert (chosen in text) == (len(given) == 2)


def test_what_values_of_medicine_mean_is_on_the_page():
    given = ["images.values={unit: HU, low: -1000, high: 2000, window: [-160, 240]}"]
    text = words(sheet(load_challenge("ct", given)[0]))
    assert "0 stands for -1000 HU, 1 for 2000 HU; pictures show the window -160 to 240 HU" in text
    assert "magnitude of a complex image" in words(sheet(load_challenge("mri", [])[0]))
    assert "magnitude" not in text
    assert "Values:" not in sheet(load_challenge("deblur", [])[0])


def test_every_limit_and_rule_is_on_it():
    """One that is added to the schema has to be added to the page, and to the list above."""
    config, _ = load_challenge("deblur", [])
    for section in ("limits", "rules", "metric"):
        for key in type(getattr(config, section)).model_fields:
            assert any(each.startswith(f"{section}.{key}=") for each in CHANGED), key


def test_what_the_test_set_can_show_is_said():
    found = Foreseen(methods=("wiener", "tv"), images=30, spread=0.3, resolution=0.163)
    assert foreseen.lines(11, found) == [
        "On 11 images no two entries are called different: that takes 12 images."
    ]
    few = foreseen.lines(23, found)
    assert "about 0.16 dB" in few[0] and "as wiener and tv do" in few[0]
    assert few[1] == "23 images show large differences only: 24 or more show smaller ones."
    assert foreseen.lines(24, found)[1:] == []
    assert foreseen.lines(24, None) == []


@pytest.mark.parametrize(("count", "share", "parts", "few"), [
    (12, 0.5, (6, 6), True), (23, 0.5, (11, 12), True), (60, 0.5, (30, 30), False),
    (60, 0.8, (12, 48), True), (60, 0.1, (54, 6), True),
])  # fmt: skip
def test_of_a_test_set_in_parts_is_said_what_a_part_can_show(count, share, parts, few):
    """No board is about all of it."""
    found = Foreseen(methods=("wiener", "tv"), images=count, spread=0.3, resolution=0.01)
    said = foreseen.lines(count, found, share)
    public, final = parts
    assert said[0] == f"Parts: {public} images during the week, {final} images on the last day."
    assert any("large differences only" in each or "no two" in each for each in said) == few
    told = ranking.resolution(0.3, min(parts))
    assert (f"about {told:.2g} dB" in said[1]) == (min(parts) >= ranking.FEWEST)
    given = [f"images.test={count}", f"rules.final_share={share}"]
    text = words(sheet(load_challenge("deblur", given)[0]))
    assert said[0].rstrip(".") in text
    assert ("no two entries are called different" in text) == (min(parts) < ranking.FEWEST)
