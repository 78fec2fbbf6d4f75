"""A board with all that a page of it shows. Free of torch; numpy is imported on use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge
from challenge.data.challenges.rules import shown
from challenge.data.layout import Public, Workspace
from challenge.data.physics.families import FAMILIES
from challenge.submissions.entries import teams
from challenge.submissions.judging import evidence, parts, received, reveal
from challenge.submissions.judging.board import Row, rows
from challenge.submissions.judging.evidence import Evidence
from challenge.submissions.judging.parts import Part
from challenge.submissions.judging.remarks import remarks, rule
from challenge.submissions.judging.result import Result
from challenge.submissions.judging.reveal import Revealed
from challenge.submissions.scoring import foreseen, references
from challenge.submissions.scoring.references import MEASURED, TV, References


@dataclass(frozen=True)
class Reference:
    """A line by which rows are judged."""

    name: str
    psnr: float
    """dB, the mean over the images of the board."""


@dataclass(frozen=True)
class Standing:
    """A board."""

    challenge: Challenge
    rows: Sequence[Row]
    """Every entry, in the order of the board."""
    evidence: Evidence
    members: Mapping[str, Sequence[str]]
    """Of a team, by its name."""
    part: Part | None
    """`public` or `final`, where the test set is split."""
    known: References
    remarks: Sequence[str]
    """What a reader must know, a line each."""

    @cached_property
    def counting(self) -> list[Row]:
        """The rows of the ranking, baselines among them."""
        return [row for row in self.rows if row.counts]

    @cached_property
    def teams(self) -> list[Row]:
        return [row for row in self.counting if not row.baseline]

    @cached_property
    def left_out(self) -> list[Row]:
        """Entries that failed, and rows of teams of which no entry counts."""
        return [row for row in self.rows if not row.counts and (row.main or row.outcome != "ok")]

    @cached_property
    def others(self) -> list[Row]:
        """Entries that another one of their team goes before."""
        return [row for row in self.rows if not row.main and row.outcome == "ok"]

    @cached_property
    def references(self) -> list[Reference]:
        """Best first; total variation only where no baseline on the board is that."""
        images = self.counting[0].images if self.counting else {}
        names = {MEASURED: self._measured, TV: "total variation"}
        if any(row.baseline and row.name == TV for row in self.counting):
            del names[TV]
        found = [
            Reference(words, mean)
            for name, words in names.items()
            if (mean := self.known.mean(name, images)) is not None
        ]
        return sorted(found, key=lambda each: -each.psnr)

    @property
    def _measured(self) -> str:
        """What the pictures of measurements are."""
        kind = self.challenge.config.operator.kind
        return "blurred" if kind == "blur" else FAMILIES[kind].seen_as

    @cached_property
    def number(self) -> dict[str, int]:
        """Of each team, for its colour: it stays when the ranking changes."""
        names = sorted({row.team for row in self.rows if row.team and not row.baseline})
        return {name: number for number, name in enumerate(names)}


def gather(
    place: Workspace,
    challenge: Challenge,
    results: Sequence[Result],
    part: Part | None,
    revealed: Revealed | None = None,
) -> Standing:
    """The board of a challenge.

    Args:
        place: the organiser's workspace.
        results: verdicts, those on other preparations of the challenge among them.
        part: which images it is about; None: all.
        revealed: the record of the reveal, where it is not written down yet.

    Raises:
        UserError: the list of teams or the register is damaged, or the hidden folder, which says
            which images a part has, is not here.
    """
    hidden, config = place.hidden(challenge.config.name), challenge.config
    found, done = list(results), revealed or reveal.read(hidden)
    week: list[Result] | None = None
    if part is not None:
        if not hidden.key.is_file():
            cause = "is not here, and its key says which images are of which part"
            raise UserError.of(hidden.path, cause, "give the organiser's `--workspace`")
        share = config.rules.final_share or 0.5
        split = parts.split(hidden.ids(), hidden.key.read_bytes(), share)
        # Chosen on the final images, each team's best entry would be the one chance made best.
        if part == "final":
            week = parts.restrict(found, split["public"])
        found = parts.restrict(found, split[part])
    listed = teams.load(place)
    made = rows(
        found,
        config.rules,
        listed,
        challenge.hash,
        limits=config.limits,
        sights=received.read(place),
        revealed=done.at if done else None,
        choose=week,
        everything=True,
    )
    weighed = evidence.weigh(made)
    return Standing(
        challenge=challenge,
        rows=made,
        evidence=weighed,
        members={name: team.members for name, team in listed.teams.items()} if listed else {},
        part=part,
        known=references.read(hidden),
        remarks=(
            *evidence.remarks(weighed),
            *([] if part else _foreseen(challenge, weighed)),
            *_about_rules(challenge),
            *remarks(made),
            *(
                ["practice: the truth of this challenge is in everybody's scikit-image"]
                if challenge.practice
                else []
            ),
        ),
    )


def _foreseen(challenge: Challenge, weighed: Evidence) -> list[str]:
    """The resolution that `prepare` told, where the entries do not tell it yet."""
    found = foreseen.read(Public(challenge.path))
    if found is None or weighed.resolution is not None:
        return []
    return [line for line in foreseen.lines(challenge.test.count, found) if "Resolution" in line]


def _about_rules(challenge: Challenge) -> list[str]:
    """Which entries count, and every change of the rules since the challenge was published."""
    standing = challenge.standing
    changes = [f"changed {shown(each.at)}: {each}" for each in standing.changes]
    digest = standing.digest[:16]
    return [rule(challenge.config.rules), f"rules {digest}: {standing.version}", *changes]


def title(row: Row) -> str:
    """A row in a figure: `alpha unet`, `(baseline) lpd`."""
    return f"({row.team}) {row.name}" if row.baseline else f"{row.team} {row.name}"
