"""What commands that run a method on val say of it: progress, time here and at the judge's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from challenge.cli.shared.format import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from challenge.cli.shared.console import Report
    from challenge.data.challenges.challenge import Challenge
    from challenge.data.layout import Workspace
    from challenge.submissions.inference.forecast import Forecast
    from challenge.submissions.inference.supervisor import Inference, Step


def watch(report: Report, what: str, minutes: float) -> Callable[[Step], None]:
    """Show the projected total after each image; warn once when it exceeds the limit."""
    from challenge.cli.shared.console import warn

    warned = False

    def step(done: Step) -> None:
        nonlocal warned
        report(what, done.done, done.total, f"projected total {clock(done.projected)}")
        if done.projected > minutes * 60 and not warned:
            warned = True
            warn(
                f"at this pace the test set takes {clock(done.projected)}, "
                f"the limit is {clock(minutes * 60)}"
            )

    return step


def watch_each(report: Report, minutes: float) -> Callable[[str, Step], None]:
    """One line of progress for everything that is reconstructed with, by its name."""
    steps: dict[str, Callable[[Step], None]] = {}

    def step(name: str, done: Step) -> None:
        if name not in steps:
            steps[name] = watch(report, f"infer {name}", minutes)
        steps[name](done)

    return step


class Ahead:
    """The test set on the judge's machine; says nothing where its speed is not known."""

    def __init__(self, place: Workspace, challenge: Challenge) -> None:
        """Find both speeds; this machine's is measured once where only the judge's is known."""
        from challenge.cli.shared.console import say
        from challenge.submissions.inference.forecast import find_machines

        limits = challenge.config.limits
        self._planned, self._limit = challenge.test.count, limits.minutes * 60
        # Times are those of val, and go with the pixels.
        shapes = [challenge.measurement("val", each).shape for each in challenge.ids("val")]
        pixels = [height * width for _, height, width in shapes]
        self._larger = challenge.test.pixels / (sum(pixels) / len(pixels))
        self._machines = find_machines(place, limits.threads, say)

    def forecast(self, start_up: float, seconds: Collection[float]) -> Forecast | None:
        """From the start-up and the time of each image here."""
        from challenge.submissions.inference.forecast import forecast

        if self._machines is None or not seconds:
            return None
        here, judge = self._machines.local, self._machines.judge
        scaled = [each * self._larger for each in seconds]
        return forecast(start_up, scaled, self._planned, here, judge)

    def forecast_of(self, found: Inference) -> Forecast | None:
        """From a dry run that went well."""
        if found.outcome != "ok":
            return None
        return self.forecast(found.start_up, found.seconds.values())

    def watch(self, step: Callable[[Step], None]) -> Callable[[Step], None]:
        """`step`, and one warning when the judge's machine is expected to exceed the limit."""
        from statistics import fmean

        from challenge.cli.shared.console import warn

        if self._machines is None:
            return step
        seconds: list[float] = []
        warned = False

        def both(done: Step) -> None:
            nonlocal warned
            step(done)
            seconds.append(done.seconds)
            start_up = max(0.0, done.projected - self._planned * fmean(seconds))
            forecast = self.forecast(start_up, seconds)
            if forecast is not None and forecast.expected > self._limit and not warned:
                warned = True
                warn(
                    f"at this pace the test set takes {clock(forecast.expected)} on the judge's "
                    f"machine, the limit is {clock(self._limit)}"
                )

        return both

    def show(self, forecast: Forecast | None) -> None:
        """The expected time with its interval, in one line."""
        from challenge.cli.shared.console import show

        if forecast is None:
            return
        expected, low, high = map(clock, (forecast.expected, forecast.low, forecast.high))
        # `3:20 min [2:50, 4:10]`: one unit for all three, where they have the same.
        if len({each.rpartition(" ")[2] for each in (expected, low, high)}) == 1:
            low, high = (each.rpartition(" ")[0] for each in (low, high))
        show(f"on the judge  about {expected} [{low}, {high}] of {clock(self._limit)}")

    def warn(self, forecast: Forecast | None) -> None:
        """Say when the limit may be exceeded, or will be."""
        from challenge.cli.shared.console import warn

        if forecast is None or forecast.high <= self._limit:
            return
        limit = clock(self._limit)
        if forecast.low > self._limit:
            warn(
                f"on the judge's machine this will exceed the limit: it takes "
                f"{clock(forecast.low)} at least, {limit} are allowed; make the method faster"
            )
        else:
            warn(
                f"on the judge's machine this may exceed the limit: it takes "
                f"{clock(forecast.high)} at most, {limit} are allowed"
            )


def timing(found: Inference, planned: int, minutes: float) -> str:
    """Time against the limit, in one line."""
    images = len(found.seconds)
    if not images:
        return f"time      no image was reconstructed in {found.total:.1f} s"
    spent = sum(found.seconds.values())
    projected = found.start_up + spent / images * planned
    return (
        f"time      {images} images in {found.total:.1f} s: {found.start_up:.1f} s to start, "
        f"{spent / images:.2f} s an image; the {planned} of the test set "
        f"would take {clock(projected)} of {clock(minutes * 60)}"
    )


def went_well(found: Inference) -> bool:
    """Whether a dry run is `ok`; says otherwise what happened, with the team's own log."""
    from challenge.cli.shared.console import say, say_output

    if found.outcome == "ok":
        return True
    say(f"outcome   {found.outcome}: {found.cause}")
    say_output(found.log)
    return False
