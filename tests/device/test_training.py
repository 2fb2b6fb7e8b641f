"""No training step waits for the device, or makes a tensor on the host."""

from __future__ import annotations

import pytest
from device.cases import SNAPSHOT_FITS
from device.measure import LAST, steps_of_fit
from device.pretend import pretend_gpu

WAITS = ("wait", "download")
TRAFFIC = (*WAITS, "upload", "mixture", "host")


def fit_steps(name):
    make_model, make_data = SNAPSHOT_FITS[name]
    data = make_data()
    with pretend_gpu() as counts:
        model = make_model()
        return steps_of_fit(counts, lambda: model.fit(data, max_steps=LAST + 2, progress=False))


@pytest.mark.parametrize("name", SNAPSHOT_FITS)
def test_no_step_of_a_snapshot_method_leaves_the_device(name):
    for step in fit_steps(name):
        assert step.total("launch") > 100
        assert not step.total(*TRAFFIC), step.places(*TRAFFIC)
