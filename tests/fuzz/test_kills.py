"""A few kills with a fixed seed; `python -m fuzz.kills` makes hundreds."""

import random

import pytest

from fuzz import kills


@pytest.mark.parametrize("name", ["ActionMatching", "MarkovJumpInference"])
def test_a_fit_that_was_killed_resumes_to_the_same_model_to_the_last_bit(name):
    assert kills.kill_fits(name, 3, random.Random(0)) >= 1


@pytest.mark.parametrize("suffix", kills.SUFFIXES)
def test_a_save_that_is_killed_leaves_a_whole_file_and_no_debris(suffix):
    kills.kill_saves(suffix, 2, random.Random(0))


@pytest.mark.parametrize("suffix", ["safetensors", "zarr"])
def test_processes_that_save_to_one_path_leave_whole_files_only(suffix):
    assert kills.share_a_path(suffix, 2.0) > 0
