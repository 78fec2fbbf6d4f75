"""What a user reads when a model that is not ours, a method's, refuses a value."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator

from challenge.configs.loader import Source, read


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Denoiser(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["drunet", "dncnn"]
    depth: Annotated[int, Field(multiple_of=2)] = 4


class Wide(BaseModel):
    """What a method may declare beyond our own schema."""

    model_config = ConfigDict(extra="forbid")
    weight: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    sizes: list[int] = []
    steps: dict[str, float] = {}
    denoiser: str | Denoiser = "drunet"
    lowest: float | None = None
    label: Annotated[str, Field(pattern="^a")] = "a"

    @field_validator("lowest")
    @classmethod
    def _fits(cls, value):
        if value is not None and value < 0:
            raise ValueError("lowest below zero.")
        if value is not None and value > 9:
            raise ValueError("must stay below 9")
        return value


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("weight", "-1", "2: `method.weight` must be greater than 0 or `auto` (got -1)"),
        ("weight", "x", "2: `method.weight` must be a number or `auto` (got x)"),
        ("sizes", "[1, x]", "2: `method.sizes.1` must be a whole number (got x)"),
        ("sizes", "3", "2: `method.sizes` must be a list (got 3)"),
        ("steps", "{a: b}", "2: `method.steps.a` must be a number (got b)"),
        (
            "denoiser",
            "{kind: drunet, depth: 3}",
            "2: `method.denoiser.depth` must be a multiple of 2 (got 3)",
        ),
        (
            "denoiser",
            "{kind: drunet, dpth: 3}",
            "2: `method.denoiser.dpth` is not a known key; did you mean `depth`?",
        ),
        ("lowest", "-1", "2: `method.lowest` is refused: lowest below zero (got -1)"),
        ("lowest", "10", "2: `method.lowest` must stay below 9 (got 10)"),
        ("label", "b", "2: `method.label` must match pattern '^a' (got b)"),
        ("weigth", "1", "2: `method.weigth` is not a known key; did you mean `weight`?"),
    ],
)
def test_a_model_of_somebody_else(key, value, line):
    Path("own.yaml").write_text(f"method:\n  {key}: {value}\n")
    source = read("own.yaml")
    with pytest.raises(ValidationError) as caught:
        Wide.model_validate(source.tree["method"])
    for model in (Wide, None):
        found = source.explain(caught.value, ("method",), model)
        assert f"own.yaml:{line}" in map(str, found)


def test_an_explanation_follows_the_lines():
    Path("own.yaml").write_text("lowest: x\nwieght: 1\nsizes: 3\n")
    source = read("own.yaml", ["weight=-1"])
    with pytest.raises(ValidationError) as caught:
        Wide.model_validate(source.tree)
    places = [each.place for each in source.explain(caught.value, model=Wide)]
    assert places == ["own.yaml:1", "own.yaml:2", "own.yaml:3", "`weight=-1`"]


def test_two_models_of_one_name_need_to_be_told_apart():
    twins = [
        create_model("Twin", __config__=ConfigDict(extra="forbid"), **{name: (int, 1)})
        for name in ("weight", "height")
    ]
    source = Source(Path("own.yaml"), {"wieght": 1})
    with pytest.raises(ValidationError) as caught:
        twins[0].model_validate(source.tree)
    unsure, sure = "own.yaml: `wieght` is not a known key", "; did you mean `weight`?"
    assert [str(each) for each in source.explain(caught.value)] == [unsure]
    assert [str(each) for each in source.explain(caught.value, model=twins[0])] == [unsure + sure]
