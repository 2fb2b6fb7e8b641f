"""Draw the picture of the page on performance from its own table: `python docs/scale_picture.py`."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).parent
PANELS = {
    "to the first step, CPU-s": 2,
    "steps per CPU-second": 3,
    "peak memory of the fit, GiB": 4,
}


def table() -> list[list[str]]:
    """Rows of the table of four sizes."""
    text = (DOCS / "performance.md").read_text()
    section = text.split("## Four sizes")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ") and line[2].isdigit()]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.2), layout="constrained")
rows = [[float(row[0].replace(",", "")), *row[1:]] for row in table()]
sizes = sorted({row[0] for row in rows})
for ax, (title, column) in zip(axes, PANELS.items(), strict=True):
    for pairs, marker in (("exact", "o"), ("growth first", "s")):
        own = [row for row in rows if row[1] == pairs]
        values = [float(row[column]) for row in own]
        ax.plot([row[0] for row in own], values, marker=marker, label=pairs)
    # The slope of a line is then the power of growth.
    ax.set(xscale="log", yscale="log", xlabel="cells", title=title)
    ax.set_xticks(sizes, [f"{size:,.0f}" for size in sizes], fontsize=8)
    ax.minorticks_off()
axes[1].set(yscale="linear", ylim=(0, 60))
for ax, ticks in ((axes[0], (2, 5, 10, 20, 50)), (axes[2], (0.25, 0.5, 1, 2))):
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
axes[0].legend(title="pairs", frameon=False)
fig.savefig(DOCS / "_static" / "scale.png", dpi=80)
