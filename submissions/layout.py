"""The names of the files of runs, entries and results; no other module in `submissions` knows them.

runs/<challenge>/.locks/<name>   who works on a run
runs/<challenge>/<name>/   config.yaml  weights.safetensors  run.json  log.jsonl  plugin/**/*.py
                           curves.png  samples.png  checkpoint/  pretrained/  score-<split>.json
                           <page>.png of the method's own, such as prior.png
                           parts/<knob>.safetensors  reconstructions/<split>/<id>.npy + <id>.png
entries/<team>-<name>.zip  manifest.json  config.yaml  weights.safetensors  plugin/**/*.py
                           curves.json
results/<entry>-<challenge>-<judge>.json   results/history/*.json   results/.locks/<entry>
results/received.jsonl
teams.yaml   <challenge>-kit.zip
final/<challenge>/   the final page, every score of every image, figures and tables
slurm/   <job>.log of jobs that judged or trained; tls-*/ while they do
speed.json   judge.json: how fast this machine is, and the judge's as the kit says it
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from challenge.data.layout import Split, Workspace

MANIFEST = "manifest.json"
CONFIG = "config.yaml"
WEIGHTS = "weights.safetensors"
PLUGIN = "plugin"
CURVES = "curves.json"
"""What an entry carries of its training's log."""


@dataclass(frozen=True)
class Run:
    """A folder made by `train`."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / CONFIG

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS

    @property
    def facts(self) -> Path:
        """What the run was made from and with: challenge hash, versions, seconds, state."""
        return self.path / "run.json"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def packed_curves(self) -> Path:
        """In place of the log, where the folder is an entry that was unpacked."""
        return self.path / CURVES

    @property
    def curves(self) -> Path:
        """Loss, PSNR and learning rate over the steps, drawn."""
        return self.path / "curves.png"

    @property
    def samples(self) -> Path:
        """Measured, estimate, truth and error of some val images."""
        return self.path / "samples.png"

    def picture(self, name: str) -> Path:
        """A page of a method's own pictures, such as samples of its prior."""
        return self.path / f"{name}.png"

    @property
    def plugin(self) -> Path:
        """Copy of a team's own Python files."""
        return self.path / PLUGIN

    @property
    def pretrained(self) -> Path:
        """Copies of weights that the method begins with."""
        return self.path / "pretrained"

    def part(self, knob: str) -> Path:
        """Weights of the method that a knob of the run's method is, as they were taken along."""
        return self.path / "parts" / f"{knob}.safetensors"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint"

    @property
    def checkpoint_state(self) -> Path:
        """Counters and random states, and the name of the tensors' file that is current."""
        return self.checkpoint / "state.json"

    def checkpoint_tensors(self, slot: int) -> Path:
        """The tensors of a checkpoint; slots 0 and 1 take turns."""
        return self.checkpoint / f"tensors-{slot}.safetensors"

    @property
    def lock(self) -> Path:
        """The file that is locked while somebody works on the run; beside it, for it may go."""
        return self.path.parent / ".locks" / self.path.name

    def reconstructions(self, split: Split) -> Path:
        return self.path / "reconstructions" / split

    def inference(self, split: Split) -> Path:
        """Times, memory, outcome and log of making the reconstructions."""
        return self.reconstructions(split) / "inference.json"

    def score(self, split: Split) -> Path:
        return self.path / f"score-{split}.json"


def run(workspace: Workspace, challenge: str, name: str) -> Run:
    """The run `name` of a challenge."""
    return Run(workspace.path / "runs" / challenge / name)


def runs(workspace: Workspace) -> list[str]:
    """The runs of a workspace as `CHALLENGE/NAME`, sorted."""
    found = (workspace.path / "runs").glob("*/*/run.json")
    return sorted("/".join(path.parts[-3:-1]) for path in found)


def open_run(run: Run | Path | str) -> Run:
    """A run, or the one at a path."""
    return run if isinstance(run, Run) else Run(Path(run))


DEPTHS = {"runs": 2, "entries": 1, "hidden": 1, "public": 1}
"""Folders of a workspace, and how deep in each its things lie: `runs/CHALLENGE/NAME`."""


def workspace_of(path: Path) -> Workspace | None:
    """The workspace in which a run, an entry, a public or a hidden folder lies, if it lies in one.

    As the path names it; else by its absolute path.
    """
    parents = path.resolve().parents
    for name, depth in DEPTHS.items():
        if len(parents) > depth and parents[depth - 1].name == name:
            home = parents[depth]
            # Any folder of zips may be called so.
            if name != "entries" or (home / "public").is_dir():
                return Workspace(path.parents[depth] if len(path.parts) > depth + 1 else home)
    return None


def entry(workspace: Workspace, team: str, name: str) -> Path:
    """The zip of a team's entry."""
    return workspace.path / "entries" / f"{team}-{name}.zip"


_PACKAGED = Path(__file__).parent / "baselines"


def baselines() -> dict[str, Path]:
    """The packed entries that come with the toolkit, by name, those of sub-folders among them."""
    found = [*_PACKAGED.glob("*.zip"), *_PACKAGED.glob("*/*.zip")]
    return {path.stem: path for path in sorted(found, key=lambda path: path.stem)}


def denoisers() -> dict[str, Path]:
    """Those made for a denoising challenge, by the word of a knob for them: `baseline/drunet`."""
    found = sorted((_PACKAGED / "denoisers").glob("*.zip"))
    return {f"baseline/{path.stem}": path for path in found}


def reconstructions() -> dict[str, Path]:
    """Those made for other challenges, by such words: `baseline/unrolled`."""
    found = [each for each in baselines().items() if each[1].parent.name != "denoisers"]
    return {f"baseline/{name}": path for name, path in found}


def medicine() -> dict[str, Path]:
    """Those made for `ct` and `mri`, by name: their images have one channel or two."""
    found = sorted((_PACKAGED / "medicine").glob("*.zip"))
    return {path.stem: path for path in found}


def kit(workspace: Workspace, challenge: str) -> Path:
    """The zip that teams get."""
    return workspace.path / f"{challenge}-kit.zip"


def results(workspace: Workspace) -> Path:
    """The folder of judged results, one JSON file each."""
    return workspace.path / "results"


def result(workspace: Workspace, entry_hash: str, challenge_hash: str, judge_hash: str) -> Path:
    """The file of one verdict: the entry's whole hash, 16 hex digits of the others.

    A team chooses its entry's bytes, so that short hashes of two could be made equal.
    """
    return results(workspace) / f"{entry_hash}-{challenge_hash}-{judge_hash}.json"


def received(workspace: Workspace) -> Path:
    """When every entry was seen first, a JSON object a line; nothing is ever changed in it."""
    return results(workspace) / "received.jsonl"


def history(workspace: Workspace) -> Path:
    """The folder of verdicts that were judged anew."""
    return results(workspace) / "history"


def lock(workspace: Workspace, entry_hash: str) -> Path:
    """The file that is locked while an entry is judged."""
    return results(workspace) / ".locks" / entry_hash


def final(workspace: Workspace, challenge: str) -> Path:
    """The folder of what `challenge reveal` writes."""
    return workspace.path / "final" / challenge


def teams(workspace: Workspace) -> Path:
    """The organiser's list of teams."""
    return workspace.path / "teams.yaml"


def slurm(workspace: Workspace) -> Path:
    """What jobs of SLURM say, and the certificate of those that run."""
    return workspace.path / "slurm"


def speed(workspace: Workspace) -> Path:
    """How fast this machine is; in the organiser's workspace that is the judge's speed too."""
    return workspace.path / "speed.json"


def judge_speed(workspace: Workspace) -> Path:
    """How fast the judge's machine is, as the kit says it."""
    return workspace.path / "judge.json"
