"""Unrolled algorithms: what they are without training, and what holds while they learn."""

import pytest
import torch
from deepinv.physics import GaussianNoise

from challenge.configs.errors import UserError
from challenge.configs.schema.training import TrainConfig
from challenge.methods.contract_test import ToySession, toy_images, toy_problem
from challenge.methods.end_to_end.unrolled import Unrolled
from challenge.methods.networks.architectures import Net
from challenge.methods.solvers import proximal
from challenge.methods.solvers.data_term import DataTerm
from challenge.methods.solvers.wiener_filter import wiener
from challenge.methods.training.losses import mse
from challenge.methods.training.objective import Objective
from challenge.methods.training.optimisers import fill_gradients
from challenge.methods.transforms import grey, spectrum
from challenge.methods.transforms.cosine import from_opponent, to_opponent
from challenge.methods.transforms.noise_level import noise_level
from challenge.submissions.layout import Run
from challenge.submissions.runs.session import RunSession

ALGORITHMS = ["pgd", "hqs", "admm", "pdhg"]
BOUNDARIES = ["circular", "valid", "reflect"]


def make(algorithm="hqs", **knobs):
    torch.manual_seed(0)
    net = Net(width=knobs.pop("width", 4), depth=1)
    return Unrolled(algorithm=algorithm, net=net, **{"steps": 3, **knobs})


def measured(boundary="circular", batch=2, side=20):
    problem = toy_problem(boundary=boundary)
    x = torch.stack([toy_images(batch)[n][:, :side, :side] for n in range(batch)])
    return (x, *problem.measure(x, range(batch)))


def in_double(method, y, physics):
    return method.double(), y.double(), physics.double()


def soft(v, threshold=0.02):
    return v.sign() * (v.abs() - threshold).clamp_min(0)


def wake(method, scale=0.1):
    """Give the networks, zero before training, something to say."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return method


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_with_an_exact_prox_it_is_its_algorithm(algorithm, boundary):
    """Another loop over the same mathematics, written out, in float64."""
    _, y, physics = measured(boundary)
    knobs = {"metric": "white"} if algorithm in ("hqs", "admm") else {}
    method, y, physics = in_double(make(algorithm, steps=4, **knobs), y, physics)
    wake(method)  # other steps and penalties in every step
    method.denoise = lambda k, v, sigma, memory: (soft(v), memory)
    with torch.no_grad():
        found = method(y, physics)
        A, At = physics.A, physics.A_adjoint
        x = wiener(y, physics, method.wiener.log_spectrum, [1.0])[0]
        data = DataTerm(y, physics)
        u, q, w = torch.zeros_like(x), torch.zeros_like(y), x
        sigma = physics.noise_model.sigma.reshape(-1, 1, 1, 1)
        for k in range(4):
            if algorithm == "pgd":
                x = soft(x - method.log_step[0, k].exp() * At(A(x) - y))
            elif algorithm == "pdhg":
                s, t = method.log_step[:, k].exp()
                q = (q + s * (A(w) - y)) / (1 + s)
                new = soft(x - t * At(q))
                x, w = new, 2 * new - x
            else:
                weight = sigma**2 / method.log_error[k].exp()
                if algorithm == "hqs":
                    x = soft(data.prox(x, weight))
                else:
                    v = data.prox(x - u, weight)
                    x = soft(v + u)
                    u = u + v - x
    # deepinv keeps the circular blur's transfer function in float32.
    torch.testing.assert_close(found, x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_network_for_colours_takes_a_grey_measurement_in_colours(algorithm, boundary):
    """Written out: noise is added, sqrt(3) sigma is told, and the mean is taken."""
    problem = toy_problem(1, boundary)
    x = torch.stack([toy_images(2, 1)[n][:, :20, :20] for n in range(2)])
    y, physics = problem.measure(x, [0, 1])
    method = wake(make(algorithm), 0.02).eval()
    with torch.no_grad():
        found = list(method.estimates(y, physics))
        sigma = physics.noise_model.sigma
        seen, _, _ = grey.in_colours(y, physics, noise_level(y, physics))
        physics.noise_model = GaussianNoise(sigma=3**0.5 * sigma)
        colours = list(method.estimates(seen, physics))
    assert colours[-1].std(1).mean() > 1e-3, "these networks tell colours apart"
    for one, three in zip(found, colours, strict=True):
        torch.testing.assert_close(one, three.mean(1, keepdim=True), rtol=0, atol=1e-6)


def test_the_data_step_of_hqs_weighs_frequencies_by_the_error_they_have():
    """With the true error spectrum, the data step is the best linear estimate there is."""
    method = make(steps=1).double()
    generator = torch.Generator().manual_seed(3)
    x, y, physics = measured(side=32)
    x, physics = x.double(), physics.double()
    errors = torch.exp(-2 - 3 * torch.linspace(0, 1, spectrum.BINS)).double()
    found = {}
    for guess in (0.1, 1.0, 10.0):
        method.log_error.data[0] = errors.log() + torch.tensor(guess).log()
        total = 0.0
        for _ in range(20):
            white = torch.randn(x.shape, generator=generator, dtype=torch.float64)
            root = spectrum.penalty(errors.log(), 32, 32, mean=True).rsqrt()
            start = x + torch.fft.irfft2(torch.fft.rfft2(white) * root, s=(32, 32))
            noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
            data = DataTerm(physics.A(x) + 0.03 * noise, physics)
            step = proximal.hqs(
                proximal.start(start, data, "hqs"),
                data,
                lambda v: v,
                method.weight(0, data),
            )
            total += (step.x - x).square().mean().item()
        found[guess] = total
    assert found[1.0] < 0.95 * found[0.1]
    assert found[1.0] < 0.95 * found[10.0]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checkpointed_gradients_are_the_plain_ones(algorithm, tied):
    x, y, physics = measured()
    gradients = []
    for checkpoint in (False, True):
        method = wake(make(algorithm, tied=tied, memory=2, checkpoint=checkpoint), 0.02).train()
        (method(y, physics) - x).square().mean().backward()
        gradients.append([parameter.grad for parameter in method.parameters()])
    assert all(each is not None for each in gradients[0])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again, rtol=1e-5, atol=1e-9)


def kept_bytes(method, y, physics):
    """Bytes that autograd keeps for the way back."""
    sizes = {}

    def pack(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        held = method(y, physics)
    del held
    return sum(sizes.values())


def test_checkpointing_makes_depth_cheap_in_memory():
    _, y, physics = measured(side=40)
    plain, checkpointed = (
        [
            kept_bytes(make(steps=steps, width=16, tied=True, checkpoint=flag).train(), y, physics)
            for steps in (2, 12)
        ]
        for flag in (False, True)
    )
    growth, small_growth = plain[1] - plain[0], checkpointed[1] - checkpointed[0]
    assert small_growth < growth / 8


def test_tied_steps_share_one_network():
    count = {tied: len(make(tied=tied, steps=5).nets) for tied in (True, False)}
    assert count == {True: 1, False: 5}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_steps_and_penalties_stay_positive_however_wild_the_training(algorithm):
    x, y, physics = measured()
    method = make(algorithm)
    before = [each.clone() for each in lengths(method)]
    learned = [each for name, each in method.named_parameters() if name.startswith("log_")]
    optimiser = torch.optim.Adam(learned, lr=1.0)
    for _ in range(5):
        optimiser.zero_grad()
        (method.train()(y, physics) - x).square().mean().backward()
        optimiser.step()
    after = lengths(method)
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all((each > 0).all() and torch.isfinite(each).all() for each in after)
    # Far below, where a plain number would have become negative
    for parameter in (getattr(method, "log_step", None), getattr(method, "log_error", None)):
        if parameter is not None:
            parameter.data.sub_(30)
    assert all((each > 0).all() for each in lengths(method))


def lengths(method):
    if hasattr(method, "log_step"):
        return [method.log_step.detach().exp()]
    _, y, physics = measured()
    data = DataTerm(y, physics)
    return [method.weight(k, data).detach() for k in range(method.steps)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_improves_on_the_algorithm_alone(algorithm):
    problem, images = toy_problem(), toy_images(8)
    method, session = make(algorithm, width=8), ToySession()
    train = TrainConfig(steps=60, batch=4, patch=32, tune=2, evaluate=20, lr=1e-3)
    method.fit(problem, images, train, session)
    quality = [line["psnr"] for line in session.lines if "psnr" in line]
    assert quality[-1] > quality[0] + 0.2


def test_a_knob_of_another_algorithm_is_refused():
    with pytest.raises(UserError, match="is not a knob of `algorithm: pgd`"):
        make("pgd", metric="white")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_net_that_diverges_says_so(algorithm):
    _, y, physics = measured()
    method = make(algorithm, steps=8).eval()
    method.denoise = lambda k, v, sigma, memory: (30 * v, memory)
    with pytest.raises(UserError, match=r"step \d of the unrolled algorithm.*it diverges"):
        method(y, physics)
    method.denoise = lambda k, v, sigma, memory: (v / 0, memory)
    with pytest.raises(UserError, match="reaches `(inf|nan)`"):
        method(y, physics)


@pytest.mark.parametrize(("channels", "seen"), [(3, 2), (1, 3), (2, 1)])
def test_another_number_of_channels_is_refused(channels, seen):
    _, physics = toy_problem().measure(toy_images(1)[0][None], [0])
    with pytest.raises(
        UserError, match=rf"method\.channels.*made for `{channels}`, .* has `{seen}`"
    ) as caught:
        make(channels=channels)(torch.zeros(1, seen, 20, 20), physics)
    assert len(str(caught.value).splitlines()) == 1


# --- growing --------------------------------------------------------------------------------------


class Stopping(RunSession):
    """A session whose user asks to stop before step `after` + 1."""

    def __init__(self, run, after=None, **options):
        super().__init__(run, precision="float32", **options)
        self.after, self.asked = after, 0

    def should_stop(self):
        self.asked += 1
        return self.after is not None and self.asked > self.after


def grown(folder, after=None, resume=False, **knobs):
    method = make(grow=0.8, **knobs)
    train = TrainConfig(steps=10, batch=2, patch=24, tune=1, evaluate=3, ema=0.9, lr=1e-3)
    session = Stopping(Run(folder), after, resume=resume)
    session.launch()
    method.fit(toy_problem(), toy_images(4), train, session)
    session.close()
    return method


@pytest.mark.parametrize("tied", [True, False])
def test_a_training_that_grows_is_resumed_exactly(tied, tmp_path):
    whole = grown(tmp_path / "whole", tied=tied).state_dict()
    for after in (2, 3, 5):  # the third step begins before step 8, the second before step 4
        parts = tmp_path / f"parts{after}"
        grown(parts, after, tied=tied)
        resumed = grown(parts, resume=True, tied=tied).state_dict()
        assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_new_step_begins_as_a_copy_of_the_one_before(algorithm):
    _, y, physics = measured()
    method = wake(make(algorithm, grow=0.5)).eval()
    method.active.fill_(1)
    first = next(method.estimates(y, physics))
    assert torch.equal(method(y, physics), first)
    method.advance(0, None)  # the end is not known yet
    method.advance(0, 100)
    assert method.active == 1
    method.advance(25, 100)
    assert method.active == 2
    again = list(method.estimates(y, physics))
    assert torch.equal(again[0], first)
    for one, two in zip(method.nets[0].parameters(), method.nets[1].parameters(), strict=True):
        assert torch.equal(one, two)
    method.advance(50, 100)
    assert method.active == 3
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.advance(99, 100)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_the_effort_of_a_training_step_is_the_share_of_its_networks():
    method = make(steps=6)
    method.active.fill_(1)
    assert method.effort(0, None) == 1 / 6
    for step in range(100):
        method.advance(step, 100)
        assert method.effort(step, 100) == int(method.active) / 6
    assert make(steps=6, grow=0).effort(0, None) == 1


def test_steps_that_have_not_begun_get_gradients_of_zero():
    x, y, physics = measured()
    method = wake(make(), 0.02).train()
    method.active.fill_(1)
    Objective(method, mse, None, toy_problem())(x, y, physics).backward()
    assert all(each.grad is None for each in method.nets[2].parameters())
    fill_gradients(method)
    assert all((each.grad == 0).all() for each in method.nets[2].parameters())
    assert any((each.grad != 0).any() for each in method.nets[0].parameters())


def test_the_weights_of_the_data_step_are_those_of_luminance_and_of_both_differences():
    method = make(steps=1)
    with torch.no_grad():
        method.log_error[0, 0], method.log_error[0, 1] = -3.0, -7.0
    _, y, physics = measured(batch=1)
    data = DataTerm(y, physics)
    expected = data.sigma.square() * torch.tensor([3.0, 7.0, 7.0]).exp().reshape(1, 3, 1, 1)
    torch.testing.assert_close(method.weight(0, data), expected.expand(1, 3, 20, 11))


def test_a_network_gets_what_the_one_before_left_in_memory():
    _, y, physics = measured()
    method, seen = make(steps=3, memory=2), []

    class Net(torch.nn.Module):
        def forward(self, z):
            seen.append(z[:, -2:].detach())
            return torch.cat([0 * z[:, :3], z[:, -2:] + len(seen)], dim=1)

    method.nets = torch.nn.ModuleList(Net() for _ in range(3))
    method(y, physics)
    assert [float(each.mean()) for each in seen] == [0, 1, 3]


@pytest.mark.parametrize("algorithm", ["hqs", "admm"])
def test_where_all_colours_have_one_error_their_basis_does_not_matter(algorithm):
    _, y, physics = measured()
    method, y, physics = in_double(make(algorithm), y, physics)
    method.denoise = lambda k, v, sigma, memory: (soft(v), memory)
    method.log_error.data[:, 1] = method.log_error.data[:, 0]
    with torch.no_grad():
        found = method(y, physics)
        data = DataTerm(y, physics)
        sigma = physics.noise_model.sigma.reshape(-1, 1, 1, 1)
        x = wiener(y, physics, method.wiener.log_spectrum, [1.0])[0]
        state = proximal.start(x, data, algorithm)
        for k in range(3):
            penalty = spectrum.penalty(method.log_error[k, 0], *data.size, mean=True)
            state = getattr(proximal, algorithm)(state, data, soft, sigma**2 * penalty)
    torch.testing.assert_close(found, state.x, rtol=0, atol=1e-12)


def test_the_basis_of_colours_is_orthonormal_and_grey_is_luminance_alone():
    x = torch.rand(2, 3, 4, 5).double()
    torch.testing.assert_close(from_opponent(to_opponent(x)), x)
    torch.testing.assert_close(to_opponent(x).square().sum(1), x.square().sum(1))
    assert to_opponent(x[:, :1].expand(-1, 3, -1, -1))[:, 1:].abs().max() < 1e-14
