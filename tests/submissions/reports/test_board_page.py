"""The board as a page: what ranks on it, what does not, and that no stranger's word acts on it."""

import csv
import io
import re
import shutil
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from challenge.configs.schema.challenge import Rules
from challenge.data.challenges.challenge import Challenge
from challenge.data.layout import Hidden
from challenge.submissions.judging import board_csv, evidence, image_scores
from challenge.submissions.judging.board import rows
from challenge.submissions.judging.result import Result
from challenge.submissions.judging.reveal import Revealed
from challenge.submissions.reports import board_figures, board_page, final_page, hidden_pictures
from challenge.submissions.reports.standing import Standing
from challenge.submissions.scoring.references import References
from challenge.submissions.scoring.scores import Interval

NAMES = {
    "markup": "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>",
    "attribute": "\" onmouseover='alert(1)' x=\"",
    "entity": "&lt;b&gt;&amp;",
    "template": "{{ 7 * 7 }}{% raw %}",
    "formula": "=HYPERLINK(\"http://x\")",
    "right to left": "b\u202epiz.ahpla\u2066",
    "emoji": "👩‍🔬🏆",
    "chinese": "图像复原",
    "mathematics": "$\\frac{a}{b}$ and $x$",
    "underscore": "_alpha",
    "new line": "a\nb\r\nc",
    "nothing to see": "\u200b\u00ad\x00",
    "long": "x" * 10_000,
    "long words": "ab " * 3_000,
}  # fmt: skip
IMAGES = 24
CURVE = {"steps": [1, 2, 3], "values": [20.0, 22.0, 23.0]}


def result(number, team, level, name="net", **fields):
    """A verdict on an entry that is `level` dB on average, a little more on some images."""
    images = [
        {"id": f"{n:04}", "psnr": level + (n % 5) / 4 + (n * number % 7) / 50, "ssim": 0.8,
         "seconds": 1.0}
        for n in range(IMAGES)
    ]  # fmt: skip
    mean = sum(each["psnr"] for each in images) / IMAGES
    record = {
        "entry": {
            "hash": f"{number:02x}" * 32, "team": team, "name": name, "bytes": 1_000_000,
            "summary": {
                "method": name[:50], "settings": name[:50], "parameters": 10**number,
                "curves": {"format": 1, "curves": {"psnr": CURVE}},
            },
        },
        "challenge": {"name": "tiny", "hash": "c"},
        "judge": {"hash": "j" * 64, "isolation": {"level": "landlock"}},
        "outcome": "ok", "received": "2026-12-01T10:00:00+00:00",
        "judged_at": "2026-12-01T10:00:00+00:00",
        "psnr": {"mean": mean, "low": mean - 0.5, "high": mean + 0.5},
        "ssim": {"mean": 0.8, "low": 0.79, "high": 0.81},
        "seconds": {"total": 10.0 * number}, "images": images,
    }  # fmt: skip
    return Result.model_validate(record | fields)


def failed(number, team, outcome="crash", cause="RuntimeError: <b>shapes</b>"):
    return result(number, team, 30.0, outcome=outcome, cause=cause, psnr=None, ssim=None, images=[])


def standing(challenge: Challenge, results, members=None, known=None) -> Standing:
    made = rows(results, Rules(), everything=True)
    weighed = evidence.weigh(made)
    return Standing(
        challenge, made, weighed, members or {}, None, known or References(), ["a remark"]
    )


def references_of(tv):
    ids = [f"{n:04}" for n in range(IMAGES)]
    return References(psnr={"measured": dict.fromkeys(ids, 20.0), "tv": dict.fromkeys(ids, tv)})


def html(board, **options):
    return board_page.html(board_page.view(board, **options))


class Page(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


PLAIN = [
    result(1, "alpha", 28.0), result(2, "beta", 27.0), result(3, "baseline", 26.0, "unet"),
    result(4, "gamma", 25.0), failed(5, "delta"),
]  # fmt: skip


def test_the_same_verdicts_give_the_same_bytes_in_whatever_order(challenge):
    page = html(standing(challenge, PLAIN))
    assert html(standing(challenge, PLAIN)) == page
    assert html(standing(challenge, PLAIN[::-1])) == page


def test_what_failed_or_lacks_a_score_has_no_line_in_the_ranking(challenge):
    lacking = result(6, "epsilon", 40.0)
    lacking = lacking.model_copy(update={"images": lacking.images[:-1]})
    second = failed(7, "alpha", "timeout")
    found = board_page.view(standing(challenge, [*PLAIN, lacking, second]))
    assert [(line.rank.text, line.team) for line in found.lines] == [
        ("1", "alpha"), ("2", "beta"), ("", "baseline"), ("3", "gamma"),
    ]  # fmt: skip
    (block,) = found.outside
    assert [(each.team, each.outcome) for each in block.rows] == [
        ("delta", "crash"), ("epsilon", "ok"), ("alpha", "timeout"),
    ]  # fmt: skip
    assert block.rows[0].why == ("failed: crash", "RuntimeError: <b>shapes</b>")
    assert "scores of images are missing" in block.rows[1].why[0]


def test_identical_entries_tie_and_are_flagged(challenge):
    twins = [result(1, "alpha", 28.0), result(1, "beta", 28.0)]
    twins[1] = twins[1].model_copy(
        update={"entry": twins[1].entry.model_copy(update={"hash": "f" * 64})}
    )
    board = standing(challenge, [*twins, result(4, "gamma", 25.0)])
    found = board_page.view(board)
    first, second, third = found.lines
    assert first.rank.text == second.rank.text == "1-2"
    assert first.ties == second.ties == ("a",)
    assert third.ties == ()
    assert first.cells[2].text == "+0.00"
    assert "clear" not in first.cells[2].more
    assert "clear" in second.cells[2].more
    for line, other in ((first, "beta"), (second, "alpha")):
        assert any(f"the same score on every image as {other}" in each for each in line.flags)
    assert [step.flags for step in final_page.podium(board)] == [first.flags, second.flags, ()]


def test_references_stand_where_they_belong(challenge):
    known = references_of(27.2)
    found = board_page.view(standing(challenge, PLAIN, known=known))
    assert [line.team for line in found.lines] == [
        "alpha", "beta", "total variation", "baseline", "gamma", "blurred",
    ]  # fmt: skip
    assert "total variation 27.20" in found.figures[0].svg
    # A baseline on the board that is total variation says it better.
    judged = [*PLAIN, result(7, "baseline", 26.5, "tv")]
    found = board_page.view(standing(challenge, judged, known=known))
    assert "total variation" not in [line.team for line in found.lines]
    some = References(psnr={"tv": dict.fromkeys([f"{n:04}" for n in range(1, IMAGES)], 27.2)})
    assert standing(challenge, PLAIN, known=some).references == []


def named(names):
    """Entries whose team, method, member, cause and settings are such a word, each in its turn."""
    results = [result(1 + k % 7, name, 30 - k / 2, name) for k, name in enumerate(names)]
    results += [failed(1 + k % 7, f"{name}2", cause=name) for k, name in enumerate(names)]
    return [
        each.model_copy(
            update={"entry": each.entry.model_copy(update={"hash": f"{k + 100:02x}" * 32})}
        )
        for k, each in enumerate(results)
    ]


def test_a_name_is_text_and_nothing_else(challenge):
    results = named(NAMES.values())
    board = standing(challenge, results, members={each: [each, "Grace"] for each in NAMES.values()})
    found = board_page.view(board, everything=True)
    page = board_page.html(found)
    like = standing(challenge, PLAIN, {"alpha": ["Ada"]}, references_of(20.0))
    parsed, plain = Page(page), Page(html(like))
    # No tag, no attribute that a page with plain names has not, and no longer a page.
    assert {*parsed.tags} <= {*plain.tags}
    assert parsed.tags.count("script") == plain.tags.count("script") == 1
    assert {key for key, _ in parsed.attributes} - {key for key, _ in plain.attributes} <= {"title"}
    assert len(page) < 500_000
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00]", page)
    assert "{{ 7 * 7 }}" in "".join(parsed.text)
    assert not re.search(r"url\(\s*['\"]?https?:", page)
    tables = board_page.tables(found)
    files = [each.csv() for each in tables]
    files.append(board_csv.text(board.rows, board.evidence, board.members))
    files.append(image_scores.text(results, References(), {}, []))
    for text in files:
        for line in csv.reader(io.StringIO(text)):
            for cell in line:
                assert not re.match(r"[=@]|[+-](?![\d.])", cell), cell
                assert cell.isprintable()
    for table in tables:
        lines = table.markdown().splitlines()
        assert len(lines) == len(table.rows) + 2, "a name begins no line of its own"
        assert not any("<" in line.replace("\\<", "") for line in lines)


def test_a_hundred_entries_fit_into_a_megabyte(challenge):
    many = [result(1 + k % 7, f"team{k:03}", 30 - k / 50, "net") for k in range(100)]
    many = [
        each.model_copy(
            update={"entry": each.entry.model_copy(update={"hash": f"{k + 100:02x}" * 32})}
        )
        for k, each in enumerate(many)
    ]
    board = standing(challenge, many)
    page = html(board)
    assert len(page.encode()) < 1_000_000
    assert page.count("team09") >= 10, "the table has all of them"
    assert f"The first {board_figures.MOST} of 100." in page


def test_a_board_without_a_ranking_is_a_page_too(challenge):
    page = html(standing(challenge, [failed(5, "delta")]))
    assert "No entry counts yet." in page
    assert "delta" in page


def test_figures_are_of_what_is_known(challenge):
    """Of verdicts of older toolkits there are no parameters and no curves."""
    older = [
        each.model_copy(update={"entry": each.entry.model_copy(update={"summary": None})})
        for each in PLAIN
    ]
    names = [each.name for each in board_figures.all_of(standing(challenge, older))]
    assert names == ["scores", "stability", "costs"]
    drawn = board_figures.all_of(standing(challenge, PLAIN))
    assert [each.name for each in drawn] == ["scores", "stability", "costs", "learning"]
    assert all(each.alt and each.png.startswith(b"\x89PNG") for each in drawn)


def test_one_team_alone_has_a_board(challenge):
    found = board_page.view(standing(challenge, PLAIN[:1]))
    assert [line.rank.text for line in found.lines] == ["1"]
    assert "stability" not in [each.name for each in found.figures]


def test_the_sentence_below_the_podium_says_what_is_known(challenge):
    def said(*results):
        return final_page.verdict(standing(challenge, results))

    assert said(failed(5, "delta")) == "No entry of a team counts."
    assert said(PLAIN[0], PLAIN[2]) == "One team alone is in the ranking."
    assert said(*PLAIN) == "alpha is ahead of every other team, beyond chance."
    close = [result(1, "alpha", 28.0), result(2, "beta", 28.001), result(6, "gamma", 28.002)]
    assert "is not told apart from " in said(*close)
    # alpha is clearly better than beta, and not than gamma, whose scores are far apart; beta
    # stands between them, so that alpha shares no letter.
    far = [{**each.model_dump(), "psnr": each.psnr + 4 * (-1) ** n} for n, each in
           enumerate(result(4, "gamma", 27.9).images)]  # fmt: skip
    gamma = result(4, "gamma", 27.9, images=far)
    apart = [result(1, "alpha", 28.0), result(2, "beta", 27.95), gamma]
    assert not evidence.weigh(rows(apart, Rules())).places[apart[0].entry.hash[:16]].ties
    assert said(*apart) == (
        "alpha has the highest mean, but it is not told apart from every other team: its rank may "
        "be any of 1-2."
    )
    few = [each.model_copy(update={"images": each.images[:8]}) for each in PLAIN]
    assert said(*few).startswith("On 8 images nothing is called different")


def test_the_images_that_tell_most(challenge):
    """On 0003 the entries differ as on average, on 0001 most; 0002 is the hardest."""
    scores = {
        "alpha": (30.0, 40.0, 20.0, 31.0, 30.6),
        "beta": (29.6, 20.0, 19.5, 26.0, 30.0),
    }
    results = []
    for number, (team, values) in enumerate(scores.items(), 1):
        base = result(number, team, 28.0)
        images = [
            image.model_copy(update={"psnr": value})
            for image, value in zip(base.images, values, strict=False)
        ]
        mean = Interval(sum(values) / 5, None, None)
        results.append(base.model_copy(update={"images": tuple(images), "psnr": mean}))
    board = standing(challenge, results)
    assert hidden_pictures.telling(board.counting) == [
        ("0003", "the entries differ as they do on average"),
        ("0001", "the entries differ most"),
        ("0002", "the hardest one for all"),
    ]
    assert hidden_pictures.telling([]) == []


@pytest.fixture
def board(challenge):
    """The board of plain and of hostile names, as a page."""
    results = [*PLAIN, *named([NAMES["markup"], NAMES["long"], NAMES["attribute"]])]
    return html(standing(challenge, results, known=references_of(27.2)))


@pytest.fixture
def final(challenge, hidden, tmp_path):
    """The final page of the same, on the hidden images of `tiny`; of the first, none is kept."""
    place = Hidden(tmp_path / "hidden")
    shutil.copytree(hidden.path, place.path)
    results, labels, ids = [], {}, place.ids()
    for each in [*PLAIN, *named([NAMES["markup"], NAMES["long"]])]:
        scored = zip(each.images, ids, strict=False)
        images = tuple(image.model_copy(update={"id": name}) for image, name in scored)
        results.append(each.model_copy(update={"images": images}))
        labels[each.entry.hash[:16]] = each.entry.hash
        if each.images and each is not PLAIN[0]:
            place.judged(each.entry.hash).mkdir(parents=True)
            for name in ids:
                x_hat = np.full((3, 64, 64), 0.5, np.float32)
                np.save(place.judged(each.entry.hash) / f"{name}.npy", x_hat)
    members = {"alpha": ["Ada", NAMES["attribute"]]}
    made = standing(challenge, results, members, references_of(27.2))
    moment = Revealed(at=datetime(2026, 12, 4, 17, tzinfo=UTC), seal="s" * 64)
    return final_page.page(*final_page.view(made, None, place, labels, moment))


SIZES = [(390, 844, "dark"), (1366, 768, "light"), (1920, 1080, "dark")]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height", "scheme"), SIZES)
def test_a_board_in_a_browser(watched, serious, board, width, height, scheme):
    page = watched(board, width, height, scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "only tables scroll"
    assert not serious(page)
    table = page.locator("table.board")
    scores = lambda: [  # noqa: E731
        float(each) for each in table.locator("tbody td:nth-child(4)").evaluate_all(
            "cells => cells.map(cell => cell.dataset.value)"
        )
    ]  # fmt: skip
    first = scores()
    assert first == sorted(first, reverse=True), "references stand among the rows"
    button = table.locator("thead th").nth(3).locator("button")
    button.press("Enter")
    button.press("Enter")
    assert scores() == sorted(first)
    size = page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)")
    assert (size > 16) == (width == 1920), "letters are larger on a projector"
    assert page.locator("svg[role=img]").count() == 4
    named = page.locator("svg[role=img]").evaluate_all("all => all.every(x => x.ariaLabel)")
    assert named, "every figure says what it shows"


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height", "scheme"), SIZES)
def test_the_final_page_in_a_browser(watched, serious, final, width, height, scheme):
    page = watched(final, width, height, scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "only tables scroll"
    assert not serious(page)
    row = page.locator(".row.lens").first
    assert "alpha net" in page.locator(".absent").first.inner_text(), "whose picture is not kept"
    pictures = row.locator("img").evaluate_all("all => all.map(x => x.naturalWidth)")
    assert len(pictures) >= 6
    assert {*pictures} == {64}
    row.locator(".frame").first.press("ArrowRight")
    places = row.locator("canvas.glass").evaluate_all("all => all.map(x => x.dataset.place)")
    assert {*places} == {"0.530 0.500"}, "one lens over all teams"
