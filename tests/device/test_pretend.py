"""What is counted is what a GPU would do."""

from __future__ import annotations

import pytest
import torch
from device.cases import action, cells
from device.measure import fit_steps
from device.pretend import pretend_gpu

from dyninfer.transport.objectives.action import ActionObjective

TRAFFIC = ("wait", "download", "upload", "mixture")


def here():
    return torch.arange(4.0)


def there():
    return here().to("cuda")


def generator(device):
    return torch.Generator(device).manual_seed(0)


@pytest.mark.parametrize(
    ("kind", "work"),
    [
        ("wait", lambda x: x.sum().item()),
        ("wait", lambda x: bool((x > 1).any())),
        ("wait", lambda x: x.tolist()),
        ("wait", lambda x: x[x > 1]),
        ("wait", lambda x: x.nonzero()),
        ("wait", lambda x: torch.linalg.inv(torch.diag(x + 1))),
        ("wait", lambda x: torch.linalg.cholesky(torch.diag(x + 1))),
        ("wait", lambda x: torch.repeat_interleave(x.long())),
        ("download", lambda x: x.cpu()),
        ("download", lambda x: here().copy_(x)),
        ("upload", lambda x: here().to(x)),
        ("upload", lambda x: torch.tensor([1.0], device=x.device)),
        ("upload", lambda x: x.new_tensor([1.0])),
        ("upload", lambda x: x[torch.tensor([1, 2])]),
        ("mixture", lambda x: x + here()),
        ("mixture", lambda x: x.numpy()),
        ("mixture", lambda x: torch.rand(2, generator=generator("cpu"), device=x.device)),
    ],
)
def test_what_a_gpu_would_wait_for_send_or_refuse_is_counted(kind, work):
    with pretend_gpu() as counts:
        x = there()
        counts.clear()
        work(x)
    assert counts.total(kind) >= 1
    assert counts.total(*TRAFFIC) == counts.total(kind)


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.new_zeros(3) + torch.zeros_like(x).sum(),
        lambda x: torch.where(x > 1, x, 0.0) * torch.tensor(2.0),
        lambda x: x.masked_fill(x > 1, 0.0),
        lambda x: torch.linalg.inv_ex(torch.diag(x + 1)),
        lambda x: torch.linalg.cholesky_ex(torch.diag(x + 1)),
        lambda x: torch.repeat_interleave(x.long(), output_size=6),
        lambda x: torch.rand(2, generator=generator("cuda"), device=x.device),
        lambda x: x[x.long()].to(torch.float64),
    ],
)
def test_what_stays_on_the_device_is_a_launch_alone(work):
    with pretend_gpu() as counts:
        x = there()
        counts.clear()
        work(x)
    assert counts.total("launch") >= 1
    assert not counts.total(*TRAFFIC), counts.places(*TRAFFIC)


def test_numbers_and_gradients_are_those_of_the_cpu():
    layer = torch.nn.Linear(4, 2)
    expected = layer(here()).square().sum()
    (slope,) = torch.autograd.grad(expected, layer.weight)
    with pretend_gpu() as counts:
        copy = torch.nn.Linear(4, 2)
        copy.load_state_dict(layer.state_dict())
        copy.to("cuda")
        value = copy(there()).square().sum()
        value.backward()
        assert copy.weight.grad.device.type == value.device.type == "cuda"
    assert torch.equal(value, expected)
    assert torch.equal(copy.weight.grad, slope)
    assert not counts.total("wait", "mixture")


@pytest.mark.parametrize(
    ("slip", "kind"),
    [
        (lambda loss: loss.mean().item(), "wait"),
        (lambda loss: loss[loss > 0], "wait"),
        (lambda loss: loss.detach().cpu(), "download"),
        (lambda loss: loss + torch.zeros(len(loss)), "mixture"),
    ],
)
def test_a_slip_in_a_training_step_is_counted_in_every_step(monkeypatch, slip, kind):
    real = ActionObjective.loss

    def loss(objective, model, batch):
        terms = real(objective, model, batch)
        slip(terms["loss"])
        return terms

    monkeypatch.setattr(ActionObjective, "loss", loss)
    steps = fit_steps(action, cells)
    assert [step.total(*TRAFFIC) for step in steps] == [1] * len(steps)
    assert all(step.total(kind) == 1 for step in steps)
