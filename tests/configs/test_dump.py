"""The resolved text of a config: complete, readable, read back to an equal config."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from challenge.configs.loader import dump, load_challenge, load_entry
from challenge.configs.reader.parser import unprintable
from challenge.configs.schema.challenge import ChallengeConfig, Metric, Rules
from challenge.configs.schema.entry import EntryConfig
from challenge.configs.schema.images import BuiltinImages, FolderImages, FolderPaths
from challenge.configs.schema.physics import (
    Blur,
    FileKernel,
    GaussianKernel,
    GaussianNoise,
    MotionKernel,
    UniformKernel,
)
from challenge.configs.schema.training import TrainConfig

TV = """\
challenge: deblur
name: tv
method:
  name: tv
  weight: 0.007
  iterations: 60
train:
  steps: null
  minutes: null
  batch: 8
  patch: 96
  loss: mse
  optimiser: adam
  lr: 0.001
  momentum: 0.9
  nesterov: false
  weight_decay: 0.0
  clip: 2.0
  ema: 0.0
  schedule: warmup_cosine
  warm_up: null
  drop: 0.3
  drops: 3
  wait: 3
  patience: null
  augment: {flips: true, rotations: true, scale: 1.0}
  tune: 6
  evaluate: 500
  precision: auto
uses:
  pretrained: false
  external_data: false
seed: 0
"""

LEVIN = """\
name: levin
images:
  source: builtin
  mode: colour
  size: 256
  train: 120
  val: 6
  test: 12
operator:
  kind: blur
  kernel: {kind: file, file: kernels/Levin09.mat, pick: null}
  boundary: circular
noise:
  kind: gaussian
  sigma: [0.01, 0.05]
limits:
  weights_mb: 100.0
  minutes: 20.0
  threads: 2
  memory_gb: 8.0
rules:
  pretrained: allowed
  external_data: allowed
  entries_per_day: 5
  deadline: 2026-12-04T17:00:00Z
  counts: latest
  packages: []
  judges: any_machine
  test_measurements: hidden
  final_share: null
metric:
  crop: null
seed: 0
"""


def test_text_of_an_entry():
    assert dump(load_entry("tv", ["method.weight=0.007", "method.iterations=60"])[0]) == TV


def test_text_of_a_challenge():
    overrides = ["rules.deadline=2026-12-04T17:00:00Z", "images={source: builtin}"]
    assert dump(load_challenge("levin", overrides)[0]) == LEVIN


NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
TEXTS = st.text(max_size=20).filter(lambda text: not unprintable(text))
LEVELS = st.floats(1e-6, 1)
MOMENTS = st.datetimes(
    min_value=datetime(2000, 1, 1),
    max_value=datetime(2100, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30))]),
)
KERNELS = (
    st.builds(FileKernel, file=TEXTS, pick=st.none() | st.integers(0, 99))
    | st.builds(GaussianKernel, kind=st.just("gaussian"), std=st.floats(0.1, 50))
    | st.builds(UniformKernel, kind=st.just("uniform"), size=st.integers(1, 255))
    | st.builds(MotionKernel, kind=st.just("motion"), seed=st.integers(0, 2**63 - 1))
)
PATHS = TEXTS | st.builds(FolderPaths, train=TEXTS, val=st.none() | TEXTS)
IMAGES = st.builds(BuiltinImages, source=st.just("builtin")) | st.builds(
    FolderImages,
    source=st.just("folder"),
    path=PATHS,
    mode=st.sampled_from(["colour", "grey"]),
)
CHALLENGES = st.builds(
    ChallengeConfig,
    name=NAMES,
    images=IMAGES,
    operator=st.builds(Blur, kernel=KERNELS, boundary=st.just("valid")),
    noise=st.builds(
        GaussianNoise,
        sigma=LEVELS | st.tuples(LEVELS, LEVELS).map(lambda pair: tuple(sorted(pair))),
    ),
    rules=st.builds(Rules, deadline=st.none() | MOMENTS),
    metric=st.builds(Metric, crop=st.none() | st.integers(0, 9)),
    seed=st.integers(0, 2**63 - 1),
)
KNOBS = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats(allow_nan=False) | TEXTS | MOMENTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ENTRIES = st.builds(
    EntryConfig,
    challenge=TEXTS,
    name=NAMES,
    method=st.dictionaries(TEXTS, KNOBS, max_size=4),
    train=st.builds(TrainConfig, minutes=st.none() | st.floats(0.1, 1e6)),
)


@settings(max_examples=60, deadline=None)
@given(config=CHALLENGES)
def test_any_challenge_is_read_back(config, tmp_path_factory):
    _read_back(config, load_challenge, tmp_path_factory)


@settings(max_examples=60, deadline=None)
@given(config=ENTRIES)
def test_any_entry_is_read_back(config, tmp_path_factory):
    _read_back(config, load_entry, tmp_path_factory)


def _read_back(config, load, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "again.yaml"
    path.write_text(dump(config), encoding="utf-8")
    again, _ = load(str(path))
    assert again == config
    assert dump(again) == dump(config)


def test_what_no_file_can_give_is_a_bug():
    config = EntryConfig(challenge="a", name="a", method={"name": object()})
    with pytest.raises(TypeError, match="object has no place in a YAML file"):
        dump(config)
