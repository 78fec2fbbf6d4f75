"""The architecture: what a method computes, its module tree, layers, and how far it sees."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from challenge.configs.errors import UserError
from challenge.submissions.reports.comparison import numbers_in, tensors_of
from challenge.submissions.reports.pages import figures
from challenge.submissions.reports.pages.figures import Drawing, label
from challenge.submissions.reports.pages.tables import Cell, Table, row
from challenge.submissions.reports.presentation import diagram, layers
from challenge.submissions.reports.presentation.items import (
    Code,
    Figure,
    Item,
    Listing,
    Number,
    Numbers,
    Section,
    absent,
    failed,
)
from challenge.submissions.reports.presentation.layers import Anatomy
from challenge.submissions.reports.presentation.subjects import Subject

if TYPE_CHECKING:
    from challenge.data.challenges.challenge import Challenge

PAGE = 1500
"""Characters of a method's own page that are shown."""


def section(subjects: Sequence[Subject], challenge: Challenge, *, analyse: bool = True) -> Section:
    """The chapter; without `analyse` no method is run."""
    items = list[Item]()
    for number, each in enumerate(subjects):
        items += _of(each, number, challenge, analyse=analyse)
    return Section("architecture", "Architecture", tuple(items))


def _of(each: Subject, number: int, challenge: Challenge, *, analyse: bool) -> Iterator[Item]:
    if each.method is None:
        yield absent(each.unopened, title=f"{each.name}: not opened")
        yield from _from_weights(each, number)
        return
    yield Code(f"{each.name}: what it computes", _page(each.method))
    if not analyse:
        yield absent("Not taken apart: no method was run.", title=f"{each.name}: size and sight")
        yield from _from_weights(each, number)
        return
    try:
        anatomy, costs = layers.dissect(each.method, challenge), _costs(each)
    except Exception as error:  # one method's mistake is no report's: the others are shown
        yield failed("Not taken apart", error, title=f"{each.name}: size and sight")
        return
    yield Numbers(f"{each.name}: size and sight", tuple(_numbers(each, anatomy, costs)))
    tree = diagram.fitting(diagram.tree(each.method))
    if tree.children:
        drawn = diagram.draw(f"diagram-{number + 1}", each.name, tree)
        yield Figure(f"{each.name}: module tree", drawn)
    else:
        yield absent("It has no modules: there is no tree to draw.", title=f"{each.name}: modules")
    if anatomy.influence is not None:
        title = f"{each.name}: what a pixel of the estimate depends on"
        yield Figure(title, _influence(each, number, anatomy))
    else:
        yield absent(
            "No derivative of the estimate by the measurement could be taken, by which a pixel's "
            "dependence is measured.",
            title=f"{each.name}: what a pixel depends on",
        )
    yield Listing(f"{each.name}: layers", _table(each, number, anatomy), long=True)


def _page(method: Any) -> str:
    text = inspect.getdoc(type(method)) or "It has no page of its own."
    if len(text) <= PAGE:
        return text
    return text[:PAGE].rsplit("\n\n", 1)[0] + "\n\n…"


def _costs(each: Subject) -> dict[str, int | None]:
    """Of a network: as its run says, else as the method measures it now."""
    method = each.method
    if method is None or "receptive_field" in each.origin.costs or not hasattr(method, "facts"):
        return each.origin.costs
    return dict(method.facts())


def _numbers(each: Subject, anatomy: Anatomy, costs: dict[str, int | None]) -> Iterator[Number]:
    assert each.method is not None
    count = sum(value.numel() for value in each.method.parameters())
    stored = sum(value.numel() for value in each.method.state_dict().values())
    yield Number("parameters", f"{count:,}", f"{stored:,} stored numbers" * (stored != count))
    if each.compared is not None:
        yield Number("weights", f"{each.compared.megabytes:.2f} MB")
    yield Number("multiplications a pixel", f"{anatomy.macs:,}", "with additions")
    if "receptive_field" in costs:
        field = costs["receptive_field"]
        wide = "more than 1,000 pixels" if field is None else f"{field} pixels"
        yield Number("receptive field", wide, "of one pass of the network")
    else:
        yield Number("receptive field", "not stated", "it is not one network")
    if anatomy.reach is not None:
        yield Number("99 % of the influence", f"{anatomy.reach} pixels", "on a pixel, side")


def _influence(each: Subject, number: int, anatomy: Anatomy) -> Drawing:
    found = anatomy.influence
    assert found is not None
    near = anatomy.reach is not None
    within = f": 99 % of the squared influence lie within {anatomy.reach} pixels" if near else ""

    def paint(figure: Any) -> None:
        axis = figure.subplots()
        scaled = np.log10(np.maximum(found / found.max(), 1e-6))
        drawn = axis.imshow(scaled, cmap="cividis", vmin=-6, vmax=0, interpolation="nearest")
        axis.grid(False)
        axis.set_xlabel("pixel of y" if near else "value of y")
        bar = figure.colorbar(drawn, ax=axis, shrink=0.9)
        bar.set_ticks([-6, -4, -2, 0], labels=["1e-6", "1e-4", "0.01", "1"])
        bar.outline.set_visible(False)

    alt = (
        f"How much each measured pixel moves the middle pixel of the estimate of "
        f"{label(each.name)}{within}."
    )
    caption = (
        "|d x_hat(c) / d y| of the middle pixel c, beside its largest value (Luo et al. 2016): the "
        f"effective receptive field, on one val image of {anatomy.side} x {anatomy.side} pixels."
    )
    return figures.draw(f"influence-{number + 1}", alt, paint, caption=caption, size=(4.8, 3.6))


def _table(each: Subject, number: int, anatomy: Anatomy) -> Table:
    rows = tuple(
        row(
            layer.place,
            layer.kind,
            layer.settings,
            layer.output,
            Cell(f"{layer.parameters:,}", layer.parameters),
            Cell(f"{layer.calls:,}", layer.calls),
            Cell(f"{layer.macs:,}", layer.macs),
        )
        for layer in anatomy.layers
    )
    inside = sum(layer.macs for layer in anatomy.layers)
    note = (
        f"Multiplications with additions for each pixel of a reconstruction of {anatomy.side} x "
        f"{anatomy.side} pixels, all calls together; {max(anatomy.macs - inside, 0):,} more lie "
        "outside of layers. Fourier transforms and the operator are not counted."
    )
    columns = "layer", "kind", "made with", "output", "parameters", "calls", "MACs a pixel"
    title = f"Layers of {each.name}"
    return Table(f"layers-{number + 1}", title, columns, rows, note)


def _from_weights(each: Subject, number: int) -> Iterator[Item]:
    """What the header of the weights says, which no code of a stranger is run for."""
    try:
        tensors = tensors_of(each.candidate.path)
    except (UserError, OSError, KeyError, ValueError):
        return  # its failure is told where the scores would be
    rows = tuple(
        row(
            tensor.name,
            tensor.dtype,
            " x ".join(map(str, tensor.shape)),
            Cell(f"{numbers_in(tensor):,}", numbers_in(tensor)),
        )
        for tensor in tensors
    )
    if rows:
        columns = "tensor", "type", "shape", "numbers"
        title = f"Stored weights of {each.name}"
        table = Table(f"layers-{number + 1}", title, columns, rows)
        yield Listing(f"{each.name}: stored weights", table, long=True)
