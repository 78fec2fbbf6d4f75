"""Laws of adapting weights to one measurement."""

import copy

import pytest
import torch
from torch import nn

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract import Method, TimeLimit
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.end_to_end import adapt
from challenge.methods.end_to_end.adapt import Adapt, look, steps_within
from challenge.methods.end_to_end.ensemble import Ensemble
from challenge.methods.end_to_end.unrolled import Unrolled
from challenge.methods.networks.architectures import Net
from challenge.methods.training.chosen_weights import chosen
from challenge.methods.variational.tv import TV

LOSSES = ("recorruption", "sure")
NOISES = (
    {"sigma": 0.1},
    {"kind": "poisson", "gain": 0.02},
    {"kind": "poisson_gaussian", "gain": 0.02, "sigma": 0.05},
)


class Shrinks(Method):
    """x_hat = c A^T y + d: c = 1 keeps all of the noise, which is far from the best."""

    def __init__(self, start=1.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(start))
        self.offset = nn.Parameter(torch.tensor(0.0))

    def forward(self, y, physics):
        return self.factor * physics.A_adjoint(y) + self.offset


def scene(noise=None, count=1, operator="identity"):
    problem = toy_problem(1, None, operator, noise or {"sigma": 0.3})
    x = torch.stack([0.1 * toy_images(3, 1)[n] for n in range(count)])
    return x, *problem.measure(x, list(range(count)))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.get("kind", "gaussian"))
def test_it_gains_where_there_is_much_to_gain(loss, noise):
    x, y, physics = scene(noise)
    method = Adapt(of=Shrinks(), loss=loss, steps=20, lr=0.05).eval()
    plain = Shrinks()(y, physics)
    with torch.no_grad():
        better = method(y, physics)
    assert (better - x).square().mean() < 0.5 * (plain - x).square().mean()
    _, looks = method.adapted(y, physics)
    # The estimate is right: within four standard errors of what the truth tells of A F(y_1).
    assert looks[-1].above(3) < 0


def test_the_estimate_is_that_of_the_truth():
    """D_t is unbiased, and its standard error is the spread over measurements."""
    x = 0.1 * toy_images(1, 1)[0][None]
    problem = toy_problem(1, None, "identity", {"sigma": 0.3})
    found = []
    for sample in range(40):
        y, physics = problem.measure(x, [sample])
        theta, looks = Adapt(of=Shrinks(), steps=3, lr=0.1, margin=0).adapted(y, physics)
        last = looks[-1]
        y_1 = adapt.split(y, physics, y, torch.Generator().manual_seed(0))[0]
        c, d = theta["factor"], theta["offset"]
        truth = (c * y_1 + d - x).square().mean() - (y_1 - x).square().mean()
        found.append((last.difference - float(truth)) / last.error)
    scores = torch.tensor(found)
    assert abs(float(scores.mean())) < 4 / 40**0.5
    assert 0.7 < float(scores.std()) < 1.35, "within three deviations of 40 samples"


def test_no_steps_change_nothing():
    _, y, physics = scene(count=2)
    plain = Shrinks(0.7)
    assert torch.equal(Adapt(of=plain, steps=0).eval()(y, physics), plain(y, physics))


def test_where_the_gain_is_not_sure_nothing_changes():
    _, y, physics = scene()
    plain = Shrinks(0.7)
    kept = Adapt(of=plain, lr=0.05, margin=100).eval()(y, physics)
    assert torch.equal(kept, plain(y, physics))


@pytest.mark.parametrize("loss", LOSSES)
def test_neither_batch_nor_order_matters(loss):
    _, y, physics = scene(count=3, operator="blur")
    method = Adapt(of=Shrinks(), loss=loss, steps=3, lr=0.05).eval()
    before = copy.deepcopy(method.state_dict())
    together = method(y, physics)
    for n in (2, 0, 1):
        problem = toy_problem(1, None, "blur", {"sigma": 0.3})
        alone = problem.measure(0.1 * toy_images(3, 1)[n][None], [n])
        torch.testing.assert_close(method(*alone), together[n : n + 1], rtol=0, atol=1e-6)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())


def test_weights_are_there_again_after_an_exception():
    class Breaks(Shrinks):
        calls = 0

        def forward(self, y, physics):
            self.calls += 1
            if self.calls == 4:
                raise RuntimeError("no memory")
            return super().forward(y, physics)

    _, y, physics = scene()
    method = Adapt(of=Breaks(), steps=5, lr=0.5).eval()
    before = copy.deepcopy(method.state_dict())
    with pytest.raises(RuntimeError, match="no memory"):
        method(y, physics)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert isinstance(method.of.factor, nn.Parameter)


def test_weights_that_diverge_are_not_taken():
    class Leaves(Shrinks):
        def forward(self, y, physics):
            if float(self.factor.detach()) < 0.5:
                raise UserError.of("step 1", "diverges", "go back")
            return super().forward(y, physics)

    x, y, physics = scene()
    found = Adapt(of=Leaves(), steps=30, lr=0.05).eval()(y, physics)
    assert (found - x).square().mean() < (y - x).square().mean()


def test_the_mean_of_the_weights_lags_behind():
    _, y, physics = scene()
    ends = [
        Adapt(of=Shrinks(), lr=0.01, average=each, margin=0).adapted(y, physics)[0]["factor"]
        for each in (0.0, 0.9)
    ]
    assert ends[0] < ends[1] < 1


def test_directions_are_averaged():
    _, y, physics = scene()
    one, many = (
        [
            float(Adapt(of=Shrinks(), directions=n, seed=s, steps=1, margin=0, lr=0.01)
                  .adapted(y, physics)[1][-1].difference)
            for s in range(3)
        ]
        for n in (1, 4)
    )  # fmt: skip
    assert one != many


def test_the_weights_are_those_that_are_asked_for():
    method = Unrolled(steps=2, net=Net(width=4, depth=1))
    everything = {name for name, _ in method.named_parameters()}
    scalars, biases, last = (set(chosen(method, each)) for each in ("scalars", "biases", "last"))
    assert set(chosen(method, "all")) == everything
    assert scalars == {"log_level", "log_error"}
    assert scalars < biases == scalars | {n for n in everything if n.endswith(".bias")}
    assert {name.split(".")[1] for name in last} == {"0", "1"}
    assert len({name.rpartition(".")[0] for name in last}) == 2
    nothing = "`method.of`: `TV` has no weights to adapt; give `method.of` one that learns$"
    with pytest.raises(UserError, match=nothing):
        Adapt(of=TV())
    fewer = "`method.weights`: is `last`, and `TV` has none; .*, or `method.weights=all`$"
    with pytest.raises(UserError, match=fewer):
        Adapt(of=TV(), weights="last")


def test_what_has_no_gradients_is_told():
    class Rounds(Shrinks):
        def forward(self, y, physics):
            return super().forward(y, physics).detach()

    _, y, physics = scene()
    with pytest.raises(UserError, match="`method.of`: `Rounds` cannot be differentiated"):
        Adapt(of=Rounds()).eval()(y, physics)


def test_of_an_ensemble_the_method_inside_is_adapted_and_the_mean_taken_once():
    class Leans(Shrinks):
        """It does not turn with its measurement."""

        def forward(self, y, physics):
            x = super().forward(y, physics)
            return x + 0.3 * (x.roll(1, -1) - x)

    _, y, physics = scene()
    knobs = {"steps": 6, "lr": 0.05, "margin": 0}
    inside = Adapt(of=Leans(), **knobs).eval()
    theta, _ = inside.adapted(y, physics)
    assert theta is not None
    best = Leans()
    best.load_state_dict(theta)
    with torch.no_grad():
        found = Adapt(of=Ensemble(of=Leans()), **knobs).eval()(y, physics)
        torch.testing.assert_close(found, Ensemble(of=best).eval()(y, physics))
        assert (found - inside(y, physics)).abs().max() > 1e-3


def test_steps_are_as_many_as_the_time_suffices_for(monkeypatch):
    assert steps_within(20.0, 2.0, 0.0, 0.0) == 10
    assert steps_within(20.0, 2.0, 3.0, 3.0) == 2, "8 s are left, 3 s for a step and its looks"
    assert steps_within(20.0, 2.0, 3.0, 5.0) == 2
    assert steps_within(20.0, 2.0, 3.0, 6.0) == 1
    with pytest.raises(UserError, match="takes 3 s an image and 2 s a step, and there are 13 s"):
        steps_within(13.0, 2.0, 3.0, 3.0)
    monkeypatch.setattr(adapt, "seconds_a_pass", lambda *_: 1.0)
    session, problem = ToySession(), toy_problem(operator="identity")

    def fitted(**knobs):
        method = Adapt(of=Shrinks(), **knobs)
        method.fit(problem, toy_images(), TrainConfig(), session)
        again = Adapt(of=Shrinks(), **knobs)
        again.load_state_dict(method.state_dict())
        return int(again.steps_found)

    assert fitted() == 15
    session.time_limit = TimeLimit(30.0, 1024, 2)
    assert fitted() == 6, "40 % of 30 s are 12 s, of which 8 s are left"
    assert fitted(steps=4) == 4
    assert fitted(seconds=24) == 15
    with pytest.raises(UserError, match=r"`method.seconds`: is `25`, 80% .* is 24 s; give"):
        fitted(seconds=25)


def test_a_step_is_timed():
    session, problem = ToySession(), toy_problem(1, operator="identity")
    method = Adapt(of=Shrinks(), steps=2, seconds=100)
    before = copy.deepcopy(method.of.state_dict())
    method.fit(problem, toy_images(channels=1), TrainConfig(), session)
    assert session.lines[-1]["seconds_a_step"] > 0
    assert all(torch.equal(before[name], value) for name, value in method.of.state_dict().items())


def test_a_look_is_a_difference_of_errors_and_its_deviation():
    draw = torch.Generator().manual_seed(0)
    f, first = (torch.rand(50, generator=draw, dtype=torch.float64) for _ in range(2))
    variance = torch.rand(50, generator=draw, dtype=torch.float64)
    noise = torch.randn(20_000, 50, generator=draw, dtype=torch.float64) * variance.sqrt()
    looks = [look(3, f, first, 0.5 + each, variance) for each in noise[:500]]
    found = ((f - 0.5 - noise).square() - (first - 0.5 - noise).square()).mean(1)
    assert looks[0].step == 3
    assert looks[7].difference == pytest.approx(float(found[7]))
    assert looks[0].error == looks[7].error == pytest.approx(float(found.std()), rel=0.03)
    assert looks[0].above(2) == looks[0].difference + 2 * looks[0].error
