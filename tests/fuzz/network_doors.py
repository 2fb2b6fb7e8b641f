"""Doors of networks of one's own: modules that answer oddly, or are none."""

from fuzz import values
from fuzz.door import Door, options

# What an odd network does to a right answer.
CHANGES = (
    "lambda y: y * float('nan')",
    "lambda y: y * 1e30",
    "lambda y: y * 1e-30",
    "lambda y: y[:1]",
    "lambda y: y[..., None]",
    "lambda y: y.sum()",
    "lambda y: y.double()",
    "lambda y: y.half()",
    "lambda y: y.bfloat16()",
    "lambda y: y.detach()",
    "lambda y: y.detach().numpy()",
    "lambda y: y.relu()",
    "lambda y: y * 0",
    "lambda y: y + torch.rand(len(y), *[1] * (y.ndim - 1))",
    "lambda y: y - y.mean(0)",
    "lambda y: y.to_sparse()",
    "lambda y: y.to('meta')",
    "lambda y: y.cumsum(0)",
    "lambda y: (y, y)",
    "lambda y: y + 1j",
    "lambda y: y.sqrt()",
    "lambda y: y.long()",
    "lambda y: 1 / 0",
    "lambda y: print()",
)
OTHERS = (
    "Potential(n_out=1)",
    "Potential(n_out=3)",
    "Potential(dtype=torch.float64)",
    "Potential(dtype=torch.bfloat16)",
    "Potential().requires_grad_(False)",
    "Potential().eval()",
    "Potential",
    "Potential().to('meta')",
    "torch.nn.Linear(2, 1)",
    "torch.nn.Identity()",
    "torch.nn.Sequential()",
    "torch.nn.LazyLinear(1)",
    "torch.nn.BatchNorm1d(2)",
    "torch.jit.script(torch.nn.Linear(2, 1))",
    "(lambda t, x: x[:, 0])",
)
METHODS = {
    "ActionMatching": "Potential(change={change})",
    "WassersteinLagrangianFlow": "Potential(change={change})",
    "StochasticInterpolant": "Potential(n_out=2, change={change})",
}


def _network(whole: str) -> values.Draw:
    def draw(rng):
        if rng.random() < 0.25:
            return values.scalar(rng)
        return rng.choice((*OTHERS, *[whole.format(change=change) for change in CHANGES]))

    return draw


def doors() -> dict[str, Door]:
    made = {}
    for name, whole in METHODS.items():
        group = {"network": (whole.format(change=None), _network(whole))}
        more = "curve_width=4, " if name == "WassersteinLagrangianFlow" else ""
        group |= options("scale control activation")
        made[f"{name}.network"] = Door(
            f"di.{name}({more}{{a}}).fit(snapshots(), max_steps=2, progress=False)", {"a": group}
        )
    return made
