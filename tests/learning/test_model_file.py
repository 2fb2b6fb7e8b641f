"""Model files: refused where they were written in another format, and tables that come back as they were."""

import numpy as np
import pandas as pd
import pytest
import torch

import dyninfer as di
from dyninfer.learning.model_file import (
    check_target,
    is_model_file,
    table_from_text,
    table_to_text,
    write_model,
)


@pytest.mark.parametrize("format_number", [None, 1, 99])
def test_a_file_of_another_format_is_refused_by_the_version_that_wrote_it(tmp_path, format_number):
    metadata = {"version": "0.1.0"}
    if format_number is not None:
        metadata["format"] = format_number
    path = write_model(tmp_path / "model.safetensors", {"x": torch.zeros(1)}, metadata)
    with pytest.raises(ValueError, match="was written by dyninfer 0.1.0, whose model files"):
        di.load(path)


def test_a_table_comes_back_to_the_last_bit():
    table = pd.DataFrame({"step": [1, 2], "loss": [1 / 3, np.nan], "name": ["a", "b"]})
    table.attrs = {"action": 0.1}
    again = table_from_text(table_to_text(table))
    pd.testing.assert_frame_equal(again, table, check_exact=True)
    assert again.attrs == table.attrs


def test_a_checkpoint_of_torch_is_no_model_file(tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "run.pt")
    write_model(tmp_path / "model", {"x": torch.zeros(1)}, {"format": 2})
    assert not is_model_file(tmp_path / "run.pt")
    assert not is_model_file(tmp_path / "absent")
    assert is_model_file(tmp_path / "model")


def test_where_no_file_can_be_written_is_named(tmp_path):
    with pytest.raises(ValueError, match="checkpoint .* is a folder; name a file in it"):
        check_target(tmp_path, "checkpoint")
    with pytest.raises(ValueError, match="does not exist; create it first"):
        check_target(tmp_path / "no" / "model")
