"""What users' functions may be, and the tensors that they may return."""

from functools import partial

import pytest
import torch
from torch import nn

import dyninfer as di
from dyninfer.learning.functions import takes_two
from dyninfer.learning.training.history import History

X = torch.ones(4, 2)
LAYOUTS = {
    "a sparse tensor; return x.to_dense()": lambda x: x.to_sparse(),
    "a tensor on the device 'meta'": lambda x: x.to("meta"),
    "a nested tensor; pad its rows": lambda x: torch.nested.nested_tensor(list(x)),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("words", LAYOUTS)
@pytest.mark.parametrize("field", ["drift", "diffusion", "growth"])
def test_a_field_returns_dense_numbers(field, words):
    def odd(t, x):
        return LAYOUTS[words](x[:, 0] if field == "growth" else x)

    fields = {"drift": lambda t, x: -x} | {field: odd}
    with pytest.raises(ValueError, match=rf"^{field}\(t, x\) of the process returned {words}"):
        di.simulate(di.Diffusion(**fields), X, [0.0, 1.0])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("words", LAYOUTS)
def test_a_sampler_and_a_network_return_dense_numbers(words):
    def draw(t, n):
        return LAYOUTS[words](torch.randn(n, 2))

    with pytest.raises(ValueError, match=f"^the sampler returned {words}"):
        di.DensityCurve(draw, times=(0.0, 1.0)).pilot()

    class Odd(nn.Linear):
        def forward(self, t, x):
            return LAYOUTS[words](super().forward(x))

    samples = [torch.randn(30, 2), torch.randn(30, 2)]
    data = di.Snapshots(times=[0.0, 1.0], samples=samples)
    model = di.StochasticInterpolant(network=Odd(2, 2))
    with pytest.raises(ValueError, match=rf"^network \(Odd\) returned {words}"):
        model.fit(data, max_steps=1, progress=False)


def test_a_function_of_two_is_told_from_classes_and_functions_of_one():
    assert takes_two(lambda t, x: x)
    assert takes_two(partial(lambda a, t, x: x, 1))
    assert takes_two(max)
    assert takes_two(nn.Bilinear(1, 1, 1))
    for other in (int, len, lambda x: x, nn.Linear(1, 1), 3, None):
        assert not takes_two(other)
    with pytest.raises(TypeError, match=r"sampler must be a function \(t, n\) -> x, found"):
        di.DensityCurve(len, times=(0.0, 1.0))


def test_the_rows_of_a_history_are_those_of_a_table():
    history = History()
    history.restore({"rows": [{"step": 1, "loss": 2.0}], "sums": {}, "count": 0})
    assert history.table()["loss"].tolist() == [2.0]
    with pytest.raises(ValueError, match="its history holds what is no row of a table"):
        history.restore({"rows": [{"step": 1}, "nan"], "sums": {}, "count": 0})
