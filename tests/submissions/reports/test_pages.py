"""Pages: no word of a stranger acts in them, nothing is asked of a network, bytes are the same."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from challenge.submissions.reports.pages import figures, images, page
from challenge.submissions.reports.pages.tables import Table, number, row
from challenge.submissions.reports.presentation import report as reports
from challenge.submissions.reports.presentation.items import drawings, tables

NAMES = {
    "plain": "tv",
    "markup": "<b>b</b><img src=x onerror=alert(1)>",
    "script": "</script><script>alert(1)</script>",
    "style": "</style><style>*{display:none}</style>",
    "attribute": '" onload="alert(1)" x=\'y\' onfocus=alert(1) autofocus',
    "entity": "&lt;script&gt; &amp; &#60;",
    "template": "{{ 7 * 7 }}{% raw %}{# x #}",
    "comment": "--><!-- ]]> <![CDATA[",
    "right to left": "b\u202egpj.exe\u2066x\u2069",
    "emoji": "b 😀👩‍🔬",
    "nothing to see": "\u200b\u00ad\ufeff",
    "controls": "b\x00\x1b[31m\x07\x08\r\n\x85\u2028c",
    "not UTF-8": "b\udcffc",
    "formula": "=HYPERLINK(1)+x$y^2$_z",
    "backticks": "`a``<i>`",
    "long": "<" * 10_000,
}
OURS = {"sort", "slider", "lens", "slides"}
URLS = re.compile(r"(?:https?:)?//[a-z]", re.IGNORECASE)


class Parsed(HTMLParser):
    """Every element with its attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.code = [], "", []
        self.inside = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = tag if tag in ("script", "style") else None
        if tag == "script":
            self.code.append("")

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside == "script":
            self.code[-1] += data
        elif self.inside is None:
            self.text += data


@pytest.fixture(scope="module")
def made(report_of):
    """Page and deck of every name, made once."""
    found = {}
    for kind, name in NAMES.items():
        report = report_of(name)
        found[kind] = {"page": reports.page(report), "deck": reports.deck(report)}
    return found


def shape(text):
    """Tags and the names of their attributes: what a page is, whatever words stand in it."""
    # A long name has its beginning as a title; prose has code between backticks.
    return [
        (tag, sorted(key for key in attributes if key != "title"))
        for tag, attributes in Parsed(text).elements
        if tag not in ("code", "g", "path", "use", "text", "tspan", "defs", "svg", "style")
    ]


@pytest.mark.parametrize("form", ["page", "deck"])
@pytest.mark.parametrize("kind", NAMES)
def test_no_name_is_more_than_a_word(made, kind, form):
    text = made[kind][form]
    assert shape(text) == shape(made["plain"][form])
    parsed = Parsed(text)
    assert not [
        each for _, attributes in parsed.elements for each in attributes if each[:2] == "on"
    ]
    assert all(each.isprintable() or each in "\n\t" for each in text), "something acts on the text"
    text.encode()
    if kind not in ("long", "backticks"):
        seen = page.name(NAMES[kind])
        assert seen in parsed.text, parsed.text[:300]
    assert len(text) < len(made["plain"][form]) + 400_000


@pytest.mark.parametrize("form", ["page", "deck"])
@pytest.mark.parametrize("kind", ["plain", "script"])
def test_only_named_scripts_run_and_nothing_is_asked_of_a_network(made, kind, form):
    text = made[kind][form]
    parsed = Parsed(text)
    metas = [attributes for tag, attributes in parsed.elements if tag == "meta"]
    (policy,) = [
        each["content"] for each in metas if each.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe-inline" not in policy.partition("script-src")[2]
    digests = {hashlib.sha256(each.encode()).digest() for each in parsed.code}
    named = re.findall(r"sha256-([^']+)'", policy)
    assert {base64.b64decode(each) for each in named} == digests
    assert len(parsed.code) == (4 if form == "deck" else 3)
    for tag, attributes in parsed.elements:
        for key in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            value = attributes.get(key) or ""
            assert value.startswith(("data:", "#")) or not value, (tag, key, value)
        assert tag not in ("iframe", "object", "embed", "form", "base", "link", "audio") or (
            attributes.get("rel") == "icon"
        )
    outside = re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[^"]*"|data:[^"]*', "", text)
    assert not URLS.search(outside), URLS.search(outside)
    assert not re.search(r"url\((?!#)|@import", outside)


@pytest.mark.parametrize("form", ["page", "deck"])
def test_every_picture_says_what_it_shows_and_every_name_in_it_is_its_own(made, form):
    elements = Parsed(made["plain"][form]).elements
    pictures = [attributes for tag, attributes in elements if tag == "img"]
    figures = [attributes for tag, attributes in elements if tag == "svg"]
    assert pictures and figures
    assert all(each.get("alt") for each in pictures)
    assert all(each.get("aria-label") and each.get("role") == "img" for each in figures)
    ids = [attributes["id"] for _, attributes in elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for _, attributes in elements:
        for key, value in attributes.items():
            for used in re.findall(r"url\(#([^)]+)\)|^#(.+)$", value or ""):
                if key in ("clip-path", "xlink:href", "style"):
                    assert "".join(used) in ids


def test_the_same_report_is_the_same_bytes(made, report_of):
    again = report_of(NAMES["markup"])
    assert reports.page(again) == made["markup"]["page"]
    assert reports.deck(again) == made["markup"]["deck"]
    one, two = drawings(report_of("tv").sections)
    assert (one.svg, one.png) == (two.svg, two.png), "the same figure under two names"


@pytest.mark.parametrize("kind", NAMES)
def test_tables_as_files_hold_words_only(kind):
    name = NAMES[kind]
    table = Table("x", "X", ("method", name), (row(name, number(1.23456, 2)), row(name, "")))
    rows = [*csv.reader(io.StringIO(table.csv()))]
    assert [len(each) for each in rows] == [2, 2, 2]
    assert rows[1][1] == "1.23456"
    assert not rows[1][0].startswith(("=", "+", "-", "@"))
    lines = table.markdown().splitlines()
    assert len(lines) == 4
    for line in lines:
        bare = re.sub(r"\\.", "", line)
        assert bare.count("|") == 3, line
        assert not set(bare) & set("<>`*_[]$"), line


def test_every_figure_and_table_is_a_file(report_of, tmp_path):
    report = report_of("tv")
    count = reports.write_files(report, tmp_path / "files")
    found = {path.name for path in (tmp_path / "files").iterdir()}
    assert len(found) == count
    assert found == {
        *(f"{each.name}.{kind}" for each in drawings(report.sections) for kind in ("svg", "png")),
        *(f"{each.name}.{kind}" for each in tables(report.sections) for kind in ("csv", "md")),
    }
    assert (tmp_path / "files/one.png").read_bytes()[:4] == b"\x89PNG"


def test_a_word_in_a_figure_is_text_and_no_formula():
    """Of every kind of name at once, in the file and in the page."""
    labels = [figures.label(name, 30) for name in NAMES.values()]

    def paint(figure):
        axis = figure.subplots()
        for place, text in enumerate(labels):
            axis.plot([0, 1], [place, 0], label=text)
            axis.text(0, place, text)
        axis.set_yticks(range(len(labels)), labels)
        axis.legend()

    drawing = figures.draw("names", "names", paint, size=(12, 8))
    for text in (drawing.svg, str(drawing.markup)):
        root = ElementTree.fromstring(text)
        written = ["".join(each.itertext()) for each in root.iter() if each.tag.endswith("}text")]
        for label in labels:
            assert written.count(label) >= 3, label
        known = {"svg", "g", "path", "use", "text", "defs", "clipPath", "rect", "style", "metadata"}
        names = {each.tag.partition("}")[2] for each in root.iter()}
        assert names - known <= {"RDF", "Work", "type", "format", "title"}
        assert not any(key.startswith("on") for each in root.iter() for key in each.attrib)


@pytest.mark.parametrize("top", [4e-4, 1.0])
def test_a_logarithmic_axis_has_plain_numbers(top):
    def paint(figure):
        axis = figure.subplots()
        axis.plot([1, 2], [1e-4, top])
        figures.logarithmic(axis)

    svg = figures.draw("x", "x", paint, size=(3, 2)).svg
    assert "mathdefault" not in svg and ">0.0001<" in svg


@pytest.mark.parametrize("channels", [1, 3])
def test_a_lossless_picture_keeps_every_pixel(channels):
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 256, (channels, 20, 30), dtype=np.uint8)
    kind, _, content = images.data_uri(picture).partition(";base64,")
    assert kind == "data:image/webp"
    with Image.open(io.BytesIO(base64.b64decode(content))) as opened:
        seen = np.asarray(opened.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(seen, np.broadcast_to(picture, (3, 20, 30)))
