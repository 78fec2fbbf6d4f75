"""The seal verified, with all that is said of it: `seal` and `reveal`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from challenge.data.layout import Hidden, Public


def tell(public: Public, folder: Hidden) -> str:
    """Verify that nothing was changed since the challenge was published, and say what holds.

    Returns:
        The seal, 64 hex digits.

    Raises:
        UserError: something was changed.
    """
    from challenge.cli.shared.console import progress, say, show
    from challenge.cli.shared.kinds import expect
    from challenge.data.challenges import rules
    from challenge.data.challenges import seal as sealed
    from challenge.data.challenges.challenge import open_challenge
    from challenge.data.hashing import digest

    expect([folder.path], "hidden")
    found = sealed.verify(public, folder)
    # After it, for it takes seconds: a broken seal is told at once.
    from challenge.data.challenges.verify import verify

    with progress() as report:
        done = verify(public, folder, report)
    show(f"the seal holds: {found}")
    opened = open_challenge(public.path)
    if folder.sources.exists() and opened.config.images.source in ("folder", "slices"):
        say(f"publish {folder.path} without {folder.sources.name}, which names files of yours")
    covered = "truth, measurements," if "measurements" in sealed.read(folder) else "truth,"
    standing = opened.standing
    rules.compare(public, folder.rules, standing)
    show(f"{covered} noise key and metric are those the challenge was published with")
    show(f"manifest holds: {digest(public.manifest)}")
    show(f"none of the {done.files} files of the public folder was changed, none is new")
    close = f"but for {done.difference:.1g} of a pixel" if done.difference else "bit for bit"
    show(f"all {done.measurements} measurements follow from truth, operator and key, {close}")
    show(f"rules {standing.digest[:16]}: {standing.version}")
    return found
