"""A page from a template: everything is inside of it, and everything else is forbidden to it.

Names, causes and logs come from strangers. Three things keep them harmless, each alone enough:
Jinja2 escapes every value; what is not printable is written out (`one_line`), so that nothing turns
the direction of writing; and the page's own Content-Security-Policy runs no script but those whose
digest it names, and asks no network for anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from challenge.submissions.text import harmless, one_line

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

Script = Literal["sort", "slider", "lens", "slides"]
"""Tables that sort, pictures with a slider, a lens over several pictures, a deck of slides."""
LONGEST = 80
"""Characters of a name on a page; the rest is an ellipsis."""
SENTENCE = 2000
"""Characters of a paragraph."""


def render(template: str, scripts: Sequence[Script] = (), **values: Any) -> str:
    """Fill in a template of `templates/`, which extends `base.html`.

    The same values give the same bytes.

    Args:
        template: its file's name.
        scripts: what of `assets/` it needs.
        values: of the template. A `str` is text; what is markup is `markupsafe.Markup`, which only
            `figures` and `images` make.
    """
    made = environment().get_template(template)
    code = [_asset(f"{name}.js") for name in scripts]
    digests = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in code]
    allowed = " ".join(f"'sha256-{each}'" for each in digests) or "'none'"
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )
    return made.render(
        policy=policy,
        style=_trusted(_asset("style.css")),
        scripts=[_trusted(each) for each in code],
        **values,
    )


@cache
def environment() -> Environment:
    """Templates that escape every value, and write out what is not printable in one.

    An unknown name in a template is an error.

    Filters: `name`, a stranger's word on one line, at most 80 characters; `log`, lines of one;
    `prose`, in which words between backticks are code.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_harmless,
    )
    made.filters["name"] = name
    made.filters["log"] = harmless
    made.filters["prose"] = prose
    return made


def name(text: object, longest: int = LONGEST) -> str:
    """A stranger's word on one line of at most `longest` characters, still to be escaped."""
    shown = one_line(text, longest + 1)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def prose(text: str) -> Markup:
    """A sentence as markup, in which words between backticks are code; all else is escaped."""
    from markupsafe import Markup, escape

    shown = name(text, SENTENCE)
    parts = shown.split("`")
    if len(parts) % 2 == 0:  # one backtick has no other end
        return escape(shown)
    code = Markup("<code>{}</code>")
    return Markup("").join(
        code.format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def _harmless(value: object) -> object:
    from markupsafe import Markup

    return harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _template(file: str) -> str:
    return _read("templates", file)


def _asset(file: str) -> str:
    return _read("assets", file)


@cache
def _read(folder: str, file: str) -> str:
    found = resources.files(__package__).joinpath(folder, file)
    return found.read_text(encoding="utf-8")


def _trusted(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)  # a file of this package
