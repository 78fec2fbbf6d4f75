"""A budget on the command line replaces the file's."""

import pytest

from challenge.configs.errors import UserError
from challenge.configs.loader import load_entry


@pytest.mark.parametrize(("given", "other"), [("steps", "minutes"), ("minutes", "steps")])
def test_a_budget_takes_the_place_of_the_files_other_one(tmp_path, given, other):
    path = tmp_path / "entry.yaml"
    path.write_text(f"challenge: deblur\nmethod: network\ntrain: {{{other}: 7}}\n")
    config, _ = load_entry(str(path), [f"train.{given}=3"])
    assert getattr(config.train, given) == 3
    assert getattr(config.train, other) is None
    with pytest.raises(UserError, match="cannot stand beside"):
        load_entry(str(path), [f"train.{other}=2", f"train.{given}=3"])
