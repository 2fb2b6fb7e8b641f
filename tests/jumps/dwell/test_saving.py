"""Fits of dwell times come back from their files as they were, and files of strangers are asked."""

import pytest
import torch

import dyninfer as di
from dyninfer.jumps.dwell import DwellFit, PhaseFit, fit_phases, fit_semi_markov
from dyninfer.learning.model_file import read_model, write_model

RECORD = di.DwellTimes([[0.3, 0.4, 0.7, 0.25, 0.2, 0.6]], dead_time=0.1)


def gate():
    return di.tl.fit_dwell_times(RECORD, ["open", "shut"], ["open"])


def test_a_fit_with_missed_events_comes_back_as_it_was(tmp_path):
    fit = gate()
    again = di.load(fit.save(tmp_path / "gate.safetensors"))
    assert again.confidence_intervals().equals(fit.confidence_intervals())
    assert (again.bic, again.dead_time) == (fit.bic, 0.1)
    assert again.apparent.mean("open") == fit.apparent.mean("open")
    assert DwellFit.load(tmp_path / "gate.safetensors").open_states == ("open",)


def test_fits_of_phases_come_back_as_they_were(tmp_path):
    fit = fit_phases([0.3, 0.7, 1.2, 2.5], "coxian", dead_time=0.1)
    again = di.load(fit.save(tmp_path / "phases"))
    assert again.table.equals(fit.table)
    assert torch.equal(again.law.rates, fit.law.rates)
    assert again.confidence_intervals().equals(fit.confidence_intervals())
    path = di.Paths(times=[[0, 1, 2, 3, 5, 6]], states=[["G1", "S", "G1", "G1", "S", "G1"]])
    cycle = fit_semi_markov(path, {"G1": 2}, "coxian")
    again = di.load(cycle.save(tmp_path / "cycle"))
    assert torch.equal(again.model.process.generator, cycle.model.process.generator)
    assert again.confidence_intervals().equals(cycle.confidence_intervals())
    assert again.bic == cycle.bic


def test_a_file_holds_numbers_and_no_data(tmp_path):
    path = gate().save(tmp_path / "gate.safetensors")
    _, tensors = read_model(path)
    assert "durations" not in tensors
    assert path.stat().st_size < 3000


def test_files_that_do_not_hold_together_are_refused_by_name(tmp_path):
    path = gate().save(tmp_path / "gate.safetensors")
    with pytest.raises(ValueError, match="gate.* holds a DwellFit and not a PhaseFit"):
        PhaseFit.load(path)
    with pytest.raises(TypeError, match="network is not a module"):
        di.load(path, network=torch.nn.Linear(1, 1))
    metadata, tensors = read_model(path)
    for change, message in [
        ({"theta": torch.zeros(3)}, "'theta' has shape"),
        ({"edges": torch.tensor([[0, 7], [1, 0]])}, "'edges' names states that are none of 2"),
        ({"design": torch.full((2, 2), torch.nan)}, "'design' holds numbers that are not finite"),
    ]:
        write_model(tmp_path / "changed", tensors | change, metadata)
        with pytest.raises(ValueError, match=message):
            di.load(tmp_path / "changed")
    facts = metadata["dwell_fit"]
    facts["dead_time"] = -0.1
    write_model(tmp_path / "changed", tensors, metadata)
    with pytest.raises(ValueError, match="dead_time must be a time of 0 or more, found -0.1"):
        di.load(tmp_path / "changed")
    facts["class"] = "Path"
    write_model(tmp_path / "changed", tensors, metadata)
    with pytest.raises(ValueError, match="'Path', which is not a fit of dwell times"):
        di.load(tmp_path / "changed")
