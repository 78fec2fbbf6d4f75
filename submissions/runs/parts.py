"""Methods that a run takes along: a knob's run, entry or published weights, resolved.

    method: {name: pnp, denoiser: runs/denoising/drunet}

A path becomes the section it stands for, its weights are copied into the run, and `run.json` and
the manifest of an entry say where they came from. The run then continues, and is packed, without
what it was made of; the weights of a part are among the method's own, and count once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.configs import spelling
from challenge.configs.errors import UserError
from challenge.configs.schema.entry import EntryConfig, Uses
from challenge.data import atomic
from challenge.data.challenges.challenge import Challenge
from challenge.data.hashing import digest
from challenge.data.layout import Workspace
from challenge.methods import from_source, plugin, registry
from challenge.submissions import layout
from challenge.submissions.layout import PLUGIN, Run
from challenge.submissions.runs import published, reading, team_files
from challenge.submissions.runs.facts import PartFacts, read_config, read_facts
from challenge.submissions.runs.pretrained import difference
from challenge.submissions.runs.published import Published

if TYPE_CHECKING:
    from challenge.methods.contract import Method

BASELINE = "baseline/"
"""Begins the words for methods that come packed with the toolkit."""
OpenEntry = Callable[[Path], AbstractContextManager[Path]]
"""Unpacks an entry that was checked into a folder."""


@dataclass(frozen=True)
class Taken:
    """A method that a knob of another one is, as it is taken along."""

    section: dict[str, Any]
    """Its `method:` section; a team's file is named as it will lie in the run."""
    method: Method
    """Built, with its weights."""
    facts: PartFacts | None
    """Where its weights came from; None where it has none."""
    uses: Uses
    files: Mapping[str, bytes]
    """A team's own files, by their paths in its folder: an entry's are gone soon."""


def take(
    entry: EntryConfig,
    base: Path,
    challenge: Challenge,
    workspace: Workspace,
    stored: Run,
    open_entry: OpenEntry | None = None,
) -> tuple[EntryConfig, dict[str, Taken]]:
    """Resolve the methods that knobs of a config's method are.

    Args:
        entry: the config as it was given.
        base: the folder of its file.
        challenge: what the method is for.
        workspace: in which runs and challenges are looked up.
        stored: the run that may hold the weights of parts already.
        open_entry: needed for entries.

    Returns:
        The config with a section in place of every path, and what it now declares under `uses:`;
        the parts by knob.

    Raises:
        UserError: nothing is there, it is of no use as this part, or it is not finished.
    """
    from challenge.methods.knobs import model
    from challenge.methods.parts import parts_of

    cls = registry.resolve(str(entry.method["name"]), base)
    taken: dict[str, Taken] = {}
    for knob, part in parts_of(model(cls)).items():
        given = entry.method.get(knob, part.default)
        if given is None:
            continue
        place = f"`method.{knob}`"
        words = layout.denoisers()
        if part.operator is None:
            words |= layout.reconstructions()
        found = _find(given, knob, words, base, challenge, workspace, stored, open_entry)
        registry.check_part(type(found.method), found.section, part, place)
        _check_channels(found.method, str(given), challenge, place)
        taken[knob] = found
    method = entry.method | {knob: found.section for knob, found in taken.items()}
    uses = entry.uses
    for found in taken.values():
        uses = Uses(
            pretrained=uses.pretrained or found.uses.pretrained,
            external_data=uses.external_data or found.uses.external_data,
        )
    return entry.model_copy(update={"method": method, "uses": uses}), taken


def keep(taken: Mapping[str, Taken], run: Run) -> None:
    """Write what the parts of a run need into its folder."""
    from safetensors.torch import save

    for knob, found in taken.items():
        for name, content in found.files.items():
            target = run.path / _folder(knob) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        if found.facts is not None:
            # Clones, as of a run: a tensor that two names share is refused by the format.
            state = found.method.state_dict()
            tensors = {name: value.detach().cpu().clone() for name, value in state.items()}
            tensors = {name: value.contiguous() for name, value in tensors.items()}
            atomic.write_bytes(run.part(knob), save(tensors))


def origins(taken: Mapping[str, Taken]) -> dict[str, PartFacts]:
    """Where the weights of the parts came from, of those that have any."""
    return {knob: found.facts for knob, found in taken.items() if found.facts is not None}


def _folder(knob: str) -> str:
    """Of a team's own files for a part, in a run."""
    return f"{PLUGIN}/of_{knob}"


def _find(
    given: Any,
    knob: str,
    words: Mapping[str, Path],
    base: Path,
    challenge: Challenge,
    workspace: Workspace,
    stored: Run,
    open_entry: OpenEntry | None,
) -> Taken:
    place = f"`method.{knob}`"
    if not isinstance(given, str):
        return _of_section(dict(given), knob, base, stored, place)
    if given in registry.names():
        return _of_section({"name": given}, knob, base, stored, place)
    if (weights := published.find(given, challenge.channels)) is not None:
        return _of_published(weights, place)
    packaged = words.get(given)
    path = packaged or _path(given, words, base, workspace, place)
    if path.is_dir():
        return _of_run(Run(path), knob, challenge, workspace, f"run {_named(path)}", place)
    if open_entry is None:
        remedy = "give the folder of the run that it was packed from"
        raise UserError.of(place, f"`{given}` is a packed entry", remedy)
    with open_entry(path) as folder:
        source = given.replace("/", " ") if packaged else f"entry {path.name}"
        found = _of_run(Run(folder), knob, challenge, workspace, source, place)
    if packaged:
        # No team trained it, nor is it known what its own images were prepared from.
        found = replace(found, uses=Uses(pretrained=True, external_data=True))
    return found


def _of_section(section: dict[str, Any], knob: str, base: Path, stored: Run, place: str) -> Taken:
    """A part whose section is written out: one without weights, or that of a run made before."""
    with reading.watched(str(section["name"]), base):
        method = registry.build(section, base, key=place.strip("`"))
    files, section = _files(section, knob, base)
    # A folder of this name that is no run's is nobody's weights.
    if stored.facts.is_file() and stored.part(knob).is_file():
        _load(method, stored.part(knob), place)
        facts = read_facts(stored).parts.get(knob)
        return Taken(section, method.eval(), facts, read_config(stored).uses, files)
    if any(True for _ in method.parameters()):
        raise UserError.of(
            place,
            f"`{section['name']}` has learned nothing yet",
            f"train it, `challenge train {section['name']}`, and give its run, such as "
            f"`runs/denoising/{section['name']}`",
        )
    return Taken(section, method.eval(), None, Uses(), files)


def _of_published(found: Published, place: str) -> Taken:
    """A part whose weights were published."""
    method = registry.build(found.section, key=place.strip("`"))
    method.load_state_dict(found.state)
    facts = PartFacts(
        method=str(found.section["name"]),
        source=found.source,
        sha256=found.sha256,
        licence=found.licence,
        size=found.size,
    )
    uses = Uses(pretrained=True, external_data=True)
    return Taken(found.section, method.eval(), facts, uses, {})


def _of_run(
    run: Run, knob: str, challenge: Challenge, workspace: Workspace, source: str, place: str
) -> Taken:
    """A part that is a finished run, or an entry that was unpacked."""
    if run.facts.is_file():
        record = read_facts(run)
        if record.state != "finished":
            remedy = f"finish it with `challenge train {run.path} --resume`, or with `--finish`"
            raise UserError.of(place, f"{run.path} is not finished", remedy)
    config = read_config(run)
    section, base = dict(config.method), run.path
    with reading.watched(str(section["name"]), base):
        method = registry.build(section, base, key=place.strip("`"))
    _load(method, run.weights, place)
    files, section = _files(section, knob, base)
    external = config.uses.external_data or _saw_others(config.challenge, challenge, workspace)
    uses = Uses(pretrained=config.uses.pretrained, external_data=external)
    facts = None
    if any(True for _ in method.state_dict()):
        facts = PartFacts(method=str(section["name"]), source=source, sha256=digest(run.weights))
    return Taken(section, method.eval(), facts, uses, files)


def _files(
    section: dict[str, Any], knob: str, base: Path
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A team's own files for a part, and the section with the name that they have in the run."""
    name = str(section["name"])
    if not plugin.is_plugin(name):
        return {}, section
    path, class_name = plugin.locate(name, base)
    files = {each.as_posix(): (path.parent / each).read_bytes() for each in team_files.of(path)}
    copied = f"{_folder(knob)}/{path.name}"
    return files, section | {"name": f"{copied}:{class_name}" if class_name else copied}


def _load(method: Method, weights: Path, place: str) -> None:
    """Put the weights of a file into a part."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        given = load_file(weights)
        method.load_state_dict(given)
    except (OSError, SafetensorError) as error:
        raise UserError.of(place, f"{weights} cannot be read ({error})", "train it again") from None
    except RuntimeError:
        said = difference(given, method.state_dict())
        cause = f"{weights} holds the weights of another architecture: {said}"
        raise UserError.of(place, cause, "give the run as it was trained") from None


def _path(
    given: str, words: Mapping[str, Path], base: Path, workspace: Workspace, place: str
) -> Path:
    """The run or the entry that a word means: from here, from the config, in the workspace."""
    tried = [Path(given), base / given, workspace.path / given]
    for path in tried:
        if path.suffix == ".zip" and path.is_file():
            return path
        if path.is_dir() and (Run(path).facts.is_file() or Run(path).config.is_file()):
            return path
    folders, name = Path(given).parent, Path(given).name
    runs = [f"runs/{each}" for each in layout.runs(workspace)]
    known = [*registry.names(), *words, *runs]
    if folders.name and f"{folders.name}/" != BASELINE and name in registry.names():
        # A run that is missing: words that look alike, such as those of downloads, are no remedy.
        others = [each for each in runs if Path(each).name == name]
        made = f"make it, `challenge train {name} challenge={folders.name}`"
        remedy = spelling.did_you_mean(given, others) or made
        raise UserError.of(place, f"there is no run `{given}`", remedy)
    listed = "give a method's name, a run's folder or an entry, such as `runs/denoising/drunet`"
    remedy = spelling.did_you_mean(given, known, listed)
    raise UserError.of(place, f"there is no method, no run and no entry `{given}`", remedy)


def _named(run: Path) -> str:
    """A run as `CHALLENGE/NAME`."""
    return "/".join(run.resolve().parts[-2:])


def _check_channels(method: Method, given: str, challenge: Challenge, place: str) -> None:
    """Raise `UserError` where a part is for grey images and the challenge's are not, or so."""
    channels, words = getattr(method, "channels", None), from_source.COLOURS
    if channels in words and not from_source.fits(channels, challenge.channels, method.takes_grey):
        there = f"those of `{challenge.config.name}` are in {words[challenge.channels]}"
        raise UserError.of(
            place,
            f"`{given}` is for {words[channels]} images, {there}",
            f"give one that was trained with `method.channels={challenge.channels}`",
        )


def _saw_others(name: str, challenge: Challenge, workspace: Workspace) -> bool:
    """Whether a part was trained on images that are not in this challenge's train split.

    Where the challenge it was trained for is not at hand, it may have been.
    """
    from challenge.data.challenges.challenge import open_challenge

    if name == challenge.config.name:
        return False
    try:
        other = open_challenge(workspace.public(name).path)
    except UserError:
        return True
    return not other.digests("train") <= challenge.digests("train")
