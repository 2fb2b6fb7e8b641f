"""Model files: refused where they were written in another format, and tables that come back as they were."""

import copy
import json
import resource

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import dyninfer as di
from dyninfer.learning.files import check_target
from dyninfer.learning.model_file import (
    is_result,
    read_model,
    table_from_text,
    table_to_text,
    write_model,
)
from dyninfer.learning.tensor_file import parse_json, write_tensors
from dyninfer.learning.training.checkpoint import KIND as STATE


@pytest.mark.parametrize("format_number", [None, 1, 3, 99])
def test_a_file_of_another_format_is_refused_by_the_version_that_wrote_it(tmp_path, format_number):
    metadata = {"version": "0.1.0"}
    if format_number is not None:
        metadata["format"] = format_number
    path = write_model(tmp_path / "model.safetensors", {"x": torch.zeros(1)}, metadata)
    with pytest.raises(ValueError, match="by dyninfer 0.1.0 in format .* load it with that"):
        di.load(path)


def test_a_file_of_this_version_in_an_earlier_format_asks_for_a_new_fit(fitted, tmp_path):
    path = fitted.save(tmp_path / "model.safetensors")
    metadata, tensors = read_model(path)
    metadata["format"] = 3
    write_model(path, tensors, metadata)
    with pytest.raises(ValueError, match=r"in format 3, and .* format 4 only; fit and save again$"):
        di.load(path)


def test_a_table_comes_back_to_the_last_bit():
    table = pd.DataFrame({"step": [1, 2], "loss": [1 / 3, np.nan], "name": ["a", "b"]})
    table.attrs = {"action": 0.1}
    again = table_from_text(table_to_text(table))
    pd.testing.assert_frame_equal(again, table, check_exact=True)
    assert again.attrs == table.attrs


def test_a_checkpoint_is_a_result_a_state_or_a_sentence(tmp_path):
    write_model(tmp_path / "result", {"x": torch.zeros(1)}, {"format": 3})
    write_tensors(tmp_path / "state", STATE, {"x": torch.zeros(1)}, {"format": 3})
    torch.save({"x": torch.zeros(1)}, tmp_path / "torch")
    assert is_result(tmp_path / "result")
    assert not is_result(tmp_path / "state")
    assert not is_result(tmp_path / "absent")
    with pytest.raises(ValueError, match="torch' is not a checkpoint .*; remove it to start anew"):
        is_result(tmp_path / "torch")


def test_where_no_file_can_be_written_is_named(tmp_path):
    with pytest.raises(ValueError, match="checkpoint .* is a folder; name a file in it"):
        check_target(tmp_path, "checkpoint")
    with pytest.raises(ValueError, match="does not exist; create it first"):
        check_target(tmp_path / "no" / "model")


# --- files that are damaged, foreign, or made to deceive ---


@pytest.fixture(scope="module")
def fitted():
    times = [0.0, 1.0]
    samples = [np.random.default_rng(k).normal(k, 1, (20, 2)) for k in range(2)]
    training = di.Training(max_steps=2, device="cpu")
    model = di.ActionMatching(width=8, depth=2, training=training)
    return model.fit(di.Snapshots(times=times, samples=samples), progress=False)


def rewritten(fitted, path, change):
    """A file with other metadata or tensors, and the digest that belongs to them."""
    metadata, tensors = read_model(fitted.save(path))
    change(metadata, tensors)
    return write_model(path, tensors, metadata)


def sentence(path):
    with pytest.raises(ValueError) as caught:
        di.load(path)
    text = str(caught.value)
    assert path.name in text
    assert "\n" not in text
    assert len(text) <= 300
    return text


def test_a_changed_bit_is_a_sentence_wherever_it_is(fitted, tmp_path):
    path = fitted.save(tmp_path / "m.safetensors")
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        sentence(path)


def test_a_file_that_was_cut_off_or_grew_is_a_sentence(fitted, tmp_path):
    path = fitted.save(tmp_path / "m.safetensors")
    content = path.read_bytes()
    for changed in (b"", content[:4], content[:50], content[:-1], content + b"x"):
        path.write_bytes(changed)
        sentence(path)


def test_equal_models_are_equal_files(fitted, tmp_path):
    first, second = fitted.save(tmp_path / "a"), fitted.save(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


DECEITS = {
    "setting of a newer version": lambda m, t: m["model"]["settings"].update(newer=1),
    "setting of another kind": lambda m, t: m["model"]["settings"].update(width="wide"),
    "setting that cannot be": lambda m, t: m["model"]["settings"].update(width=-3),
    "unknown class": lambda m, t: m["model"].update({"class": "Nothing"}),
    "abstract class": lambda m, t: m["model"].update({"class": "Estimator"}),
    "settings and no model": lambda m, t: m.update(model={"class": "Training", "settings": {}}),
    "list and no model": lambda m, t: m.update(model=[]),
    "no model": lambda m, t: m.pop("model"),
    "table that is no table": lambda m, t: m.update(history_="{"),
    "scaling that is a number": lambda m, t: m.update(scaling=3),
    "provenance of another version": lambda m, t: m["provenance"].update(newer=1),
    "renamed weight": lambda m, t: t.update(x=t.pop(sorted(t)[0])),
    "weight of another shape": lambda m, t: t.update({sorted(t)[0]: torch.zeros(1, 7)}),
    "deep settings": lambda m, t: m.update(model=nested(90)),
}


def nested(depth):
    return [] if depth == 0 else [nested(depth - 1)]


@pytest.mark.parametrize("deceit", DECEITS.values(), ids=DECEITS)
def test_metadata_that_cannot_be_are_a_sentence_even_with_the_right_digest(
    fitted, tmp_path, deceit
):
    sentence(rewritten(fitted, tmp_path / "m.safetensors", deceit))


@pytest.mark.parametrize("settings", [{"width": 30_000}, {"depth": 3_000_000}])
def test_sizes_are_compared_before_anything_large_is_built(fitted, tmp_path, settings):
    path = rewritten(
        fitted, tmp_path / "m.safetensors", lambda m, t: m["model"]["settings"].update(settings)
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "far larger model than its weights" in sentence(path)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert kilobytes < 100_000


@pytest.mark.parametrize(
    "text", ["[" * 500_000, "[" * 101 + "]" * 101, "[" + "[]," * 10**6 + "[]]"]
)
def test_deep_and_crowded_json_is_refused_before_it_is_read(text):
    with pytest.raises(ValueError, match="not JSON: it (is nested more|would need far more)"):
        parse_json(text)


@pytest.mark.parametrize("value", [10**15, None, [1], True])
def test_what_is_no_text_is_no_json(value):
    # A number of bytes would be taken from memory.
    with pytest.raises(ValueError, match="metadata are not JSON: .* is no text"):
        parse_json(value)


def test_brackets_in_text_are_not_nested():
    assert parse_json(json.dumps({"a": "[" * 1000 + '"]\\'})) == {"a": "[" * 1000 + '"]\\'}


def test_a_safetensors_file_of_others_is_named_as_such(tmp_path):
    save_file({"x": torch.zeros(3)}, tmp_path / "theirs", {"format": "pt"})
    assert "not a model file of dyninfer; what it holds is format" in sentence(tmp_path / "theirs")


def test_a_file_of_before_the_digest_names_its_version(tmp_path):
    metadata = {"dyninfer": json.dumps({"format": 2, "version": "0.1.7"})}
    save_file({"x": torch.zeros(3)}, tmp_path / "older", metadata)
    assert "dyninfer 0.1.7 wrote it" in sentence(tmp_path / "older")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda model: model.set_params(sigma=0.5), "sigma"),
        (lambda model: setattr(model, "width", 9), "width"),
        (lambda model: setattr(model.training, "max_steps", 3), "training"),
    ],
)
def test_a_setting_changed_after_fit_is_refused_at_save(fitted, tmp_path, change, name):
    model = copy.deepcopy(fitted)
    old = model.save(tmp_path / "m.safetensors").read_bytes()
    again = di.load(tmp_path / "m.safetensors")
    for changed in (model, again):
        change(changed)
        with pytest.raises(ValueError, match=f"^{name} was changed after fit, from .*; fit again"):
            changed.annotate(di.Snapshots(times=[0, 1], samples=[[[0.0]], [[0.0]]]).to_anndata())
        with pytest.raises(ValueError, match=f"^{name} was changed after fit, from .*; fit again"):
            changed.save(tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == old
