"""Pages in a real browser: they move by keyboard, ask no network, and anybody can read them."""

from __future__ import annotations

import re

import pytest

from challenge.submissions.reports.presentation import report as reports

pytestmark = pytest.mark.slow
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
WIDTHS = {"phone": (390, 844), "laptop": (1366, 768), "projector": (1920, 1080)}


def wait_until(page, condition):
    """Playwright's own wait evaluates a string, which the page's policy forbids."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    raise AssertionError(condition)


@pytest.fixture
def opened(watched, report_of):
    """Open a page or a deck; at the end nothing was asked for and nothing complained of."""

    def open_page(form, name="tv", size="laptop", scheme="light"):
        page = getattr(reports, form)(report_of(name))
        return watched(page, *WIDTHS[size], scheme)

    return open_page


def test_tables_sort(opened):
    page = opened("page", HOSTILE)
    table = page.locator("table.sortable").first
    button = table.locator("thead button").nth(1)
    values = lambda: table.locator("tbody td").all_inner_texts()  # noqa: E731
    button.press("Enter")
    assert values() == ["10.00", "3.00", "2.00", ""]
    assert table.locator("thead th").nth(1).get_attribute("aria-sort") == "descending"
    button.press("Enter")
    assert values() == ["2.00", "3.00", "10.00", ""]


def test_the_slider_moves_by_keyboard_and_takes_another_picture(opened):
    page = opened("page")
    place = page.locator(".before-after")
    after = place.locator("img.after")
    range_ = place.locator("input[type=range]")
    before = after.evaluate("each => getComputedStyle(each).clipPath")
    for _ in range(10):
        range_.press("ArrowRight")
    assert range_.input_value() == "60"
    assert after.evaluate("each => getComputedStyle(each).clipPath") == "inset(0px 0px 0px 60%)"
    assert before == "inset(0px 0px 0px 50%)"
    first = after.get_attribute("src")
    place.locator("select").select_option(index=1)
    assert after.get_attribute("src") != first
    assert after.evaluate("each => each.naturalWidth") == 48


def test_the_lens_follows_keys_and_pointer_on_every_picture(opened):
    page = opened("page")
    row = page.locator(".lens").first
    glasses = row.locator("canvas.glass")
    places = lambda: set(glasses.evaluate_all("all => all.map(x => x.dataset.place)"))  # noqa: E731
    assert glasses.count() == 3
    assert glasses.evaluate_all("all => all.every(each => each.hidden)")
    frame = row.locator(".frame").first
    frame.press("ArrowRight")
    assert places() == {"0.530 0.500"}
    frame.press("ArrowDown")
    assert places() == {"0.530 0.530"}
    frame.press("Escape")
    assert glasses.evaluate_all("all => all.every(each => each.hidden)")
    picture = row.locator("img").nth(1)
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    wait_until(page, "!document.querySelector('canvas.glass').hidden")
    assert len(places()) == 1
    assert abs(float(next(iter(places())).split()[0]) - 0.25) < 0.02


def test_slides_go_on_by_key_and_print_a_page_each(opened):
    page = opened("deck", size="projector")
    number = page.locator(".slide-number")
    count = page.locator(".slide").count()
    assert number.inner_text() == f"1 / {count}"
    for key, at in (("ArrowRight", 2), ("PageDown", 3), (" ", 4), ("ArrowLeft", 3), ("End", count)):
        page.keyboard.press(key)
        assert number.inner_text() == f"{at} / {count}"
        assert page.locator(".slide:visible").count() == 1
    page.keyboard.press("Home")
    assert number.inner_text() == f"1 / {count}"
    # Whatever a slide shows lies within it.
    for at in range(count):
        page.evaluate(f"location.hash = '#{at + 1}'")
        wait_until(page, f"document.querySelectorAll('.slide')[{at}].offsetHeight > 0")
        outside = page.evaluate(
            "() => { const s = document.querySelector('.slide.shown');"
            "const tables = [...s.querySelectorAll('.scroll')];"
            "return Math.max(s.scrollHeight - s.clientHeight, "
            "...tables.map(x => x.scrollWidth - x.clientWidth)) }"
        )
        assert outside <= 1, at
    box = page.locator(".slide.shown").bounding_box()
    assert (box["x"], box["width"], box["height"]) == pytest.approx((0, 1920, 1080), abs=2)
    pdf = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == count


@pytest.mark.parametrize("size", WIDTHS)
def test_nothing_is_wider_than_the_window(opened, size):
    for form in ("page", "deck"):
        page = opened(form, "a-name-of-many-letters-" * 40, size)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= WIDTHS[size][0], form


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(opened, serious, scheme):
    for form in ("page", "deck"):
        assert not serious(opened(form, scheme=scheme)), form
