from __future__ import annotations

import dataclasses
import hashlib
import http.server
import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import threading
from functools import partial
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA

from dyninfer import datasets
from dyninfer.data import shipped
from dyninfer.datasets import files
from dyninfer.datasets.table import TABLE, File

ROOT = Path(__file__).resolve().parents[2]
MESC = ROOT / "datasets" / "mesc_retinoic_acid"
HOURS = {0: 282, 6: 335, 12: 285, 24: 291, 36: 334, 48: 277, 60: 273, 72: 235, 96: 137}
DOWNLOADED = [name for name, entry in TABLE.items() if not entry.shipped]


# ---- shipped data -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mesc():
    return datasets.mesc_retinoic_acid()


def test_mesc_has_the_published_cells_at_every_time(mesc):
    times, counts = np.unique(mesc.obs["time"], return_counts=True)
    assert dict(zip(times.tolist(), counts.tolist(), strict=True)) == HOURS
    assert mesc.shape == (2449, 41)
    assert mesc.obs["time"].dtype == np.float64
    assert mesc.obs_names.is_unique
    assert mesc.var["group"].value_counts().to_dict() == {
        "neuroectoderm": 11,
        "pluripotency": 10,
        "post-implantation epiblast": 10,
        "extraembryonic endoderm": 10,
    }


def test_mesc_expression_is_the_logarithm_of_integer_counts(mesc):
    counts = mesc.layers["counts"]
    assert np.issubdtype(counts.dtype, np.integer)
    assert counts.min() == 0
    np.testing.assert_allclose(mesc.X, np.log1p(counts), rtol=1e-6)
    np.testing.assert_array_equal(mesc.obs["total_counts"], counts.sum(1))


def test_mesc_components_project_the_expression_and_agree_with_scikit_learn(mesc):
    x, pcs = np.log1p(mesc.layers["counts"].astype(float)), mesc.varm["PCs"]
    assert mesc.obsm["X_pca"].shape == (2449, 10)
    np.testing.assert_allclose((x - x.mean(0)) @ pcs, mesc.obsm["X_pca"], atol=1e-5)
    reference = PCA(10, svd_solver="full").fit(x)
    np.testing.assert_allclose(np.abs(np.sum(reference.components_.T * pcs, axis=0)), 1, atol=1e-5)
    np.testing.assert_allclose(
        mesc.uns["pca"]["variance_ratio"], reference.explained_variance_ratio_, rtol=1e-6
    )
    assert (pcs[np.abs(pcs).argmax(0), np.arange(10)] > 0).all()


def test_mesc_loses_pluripotency_and_gains_endoderm(mesc):
    early, late = (
        mesc[mesc.obs["time"] == 0].to_df().mean(),
        mesc[mesc.obs["time"] == 96].to_df().mean(),
    )
    assert (
        late[["Pou5f1", "Zfp42", "Esrrb", "Klf2"]]
        < 0.2 * early[["Pou5f1", "Zfp42", "Esrrb", "Klf2"]]
    ).all()
    assert (
        late[["Sparc", "Lamb1", "Col4a2", "Gata4"]]
        > 3 * early[["Sparc", "Lamb1", "Col4a2", "Gata4"]]
    ).all()


def test_tracks_are_in_micrometres_and_seconds_one_particle_after_another():
    every = datasets.single_particle_tracks()
    assert every.shape == (5071, 2)
    assert every.obs["track"].nunique() == 1000
    first = every[every.obs["track"] == "6325"]
    np.testing.assert_allclose(
        first.obsm["position"][0], [482.5991753182098 * 0.16, 288.30540174763775 * 0.16]
    )
    np.testing.assert_allclose(first.obs["time"].iloc[:3], [0, 0.00748, 0.01496])
    long = datasets.single_particle_tracks(min_length=20)
    assert (len(long), long.obs["track"].nunique()) == (1397, 36)
    with pytest.raises(ValueError, match="min_length=10000"):
        datasets.single_particle_tracks(min_length=10_000)


def test_nile_minima_are_one_path_of_years(tmp_path, monkeypatch):
    (tmp_path / "nile_minima").mkdir()
    (tmp_path / "nile_minima" / "nile_minima.csv").write_text(
        "Year,NileMin\n622,1157.0\n623,1088.0\n"
    )
    use(monkeypatch, tmp_path, "nile_minima")
    adata = datasets.nile_minima()
    assert adata.obs["year"].tolist() == [622.0, 623.0]
    assert adata.X[:, 0].tolist() == [1157.0, 1088.0]
    assert adata.obs["river"].nunique() == 1


def test_shipped_files_are_small_and_carry_card_and_licence():
    for folder in (path for path in (ROOT / "datasets").iterdir() if path.is_dir()):
        assert (folder / "README.md").is_file()
        assert (folder / "LICENSE").is_file()
        assert all(path.stat().st_size < 1e6 for path in folder.iterdir())


def test_shipped_data_are_found_in_an_installed_package(tmp_path, monkeypatch):
    installed = tmp_path / "dyninfer" / "_data" / "mesc_retinoic_acid" / "mesc_retinoic_acid.h5ad"
    installed.parent.mkdir(parents=True)
    installed.write_bytes((MESC / installed.name).read_bytes())
    monkeypatch.setattr(shipped.resources, "files", lambda package: tmp_path / package)
    assert shipped.shipped("mesc_retinoic_acid", installed.name) == installed.resolve()
    installed.unlink()
    with pytest.raises(FileNotFoundError, match="'mesc_retinoic_acid'.*install the package again"):
        datasets.mesc_retinoic_acid()


# ---- the script that made them ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepare():
    spec = importlib.util.spec_from_file_location("prepare_mesc", MESC / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_panel(path, folder, values, names):
    """A source distribution that holds the panel alone."""
    table = io.StringIO()
    np.savetxt(table, values, fmt="%g", delimiter="\t")
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (
            ("panel_real.txt", table.getvalue()),
            ("panel_genes.txt", "\n".join(f"{i}\t{n}" for i, n in enumerate(names))),
        ):
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.fixture
def panel(mesc):
    """The source table as it was, rebuilt from the shipped counts."""
    times = mesc.obs["time"].to_numpy()
    body = np.vstack([times, times > 0, mesc.layers["counts"].T])
    values = np.hstack([np.array([0, *range(42)])[:, None], body])
    return values, ["RA", *mesc.var_names]


def test_script_rebuilds_the_shipped_data_from_its_source_table(tmp_path, prepare, panel, mesc):
    write_panel(tmp_path / "sdist.tar.gz", prepare.FOLDER, *panel)
    built = prepare.build(*prepare.read_panel(tmp_path / "sdist.tar.gz"))
    pd.testing.assert_frame_equal(built.obs, mesc.obs, check_dtype=False)
    pd.testing.assert_frame_equal(built.var, mesc.var)
    np.testing.assert_array_equal(built.layers["counts"], mesc.layers["counts"])
    np.testing.assert_allclose(built.obsm["X_pca"], mesc.obsm["X_pca"], atol=1e-5)
    assert built.uns["source"] == mesc.uns["source"]


def test_script_refuses_another_archive(tmp_path, prepare):
    (tmp_path / "cardamom-0.0.3.tar.gz").write_bytes(b"not it")
    with pytest.raises(
        ValueError, match=f"{hashlib.sha256(b'not it').hexdigest()}, expected {prepare.SHA256}"
    ):
        prepare.check_sha256(tmp_path / "cardamom-0.0.3.tar.gz")
    assert prepare.SHA256 in (MESC / "README.md").read_text()


@pytest.mark.parametrize(
    ("row", "value", "message"),
    [(5, 0.5, "not counts"), (5, -1, "not counts"), (1, 1, "stimulus")],
)
def test_script_refuses_a_table_that_is_not_the_panel(
    tmp_path, prepare, panel, row, value, message
):
    values, names = panel
    values[row, 1] = value
    write_panel(tmp_path / "sdist.tar.gz", prepare.FOLDER, values, names)
    with pytest.raises(ValueError, match=message):
        prepare.read_panel(tmp_path / "sdist.tar.gz")


# ---- the table ----------------------------------------------------------------------------------------------------


def test_available_lists_every_loader():
    table = datasets.available()
    assert list(table.columns) == [
        "name",
        "cells",
        "features",
        "times",
        "origin",
        "licence",
        "reference",
    ]
    assert sorted(table["name"]) == sorted(set(datasets.__all__) - {"available"})
    assert table.set_index("name").loc[
        "mesc_retinoic_acid", ["cells", "features", "origin"]
    ].tolist() == [
        2449,
        41,
        "shipped",
    ]
    here = table.loc[table["origin"] == "shipped", "name"]
    assert sorted(here) == ["mesc_retinoic_acid", "single_particle_tracks"]


def test_every_loader_documents_licence_and_citation():
    for name in TABLE:
        text = getattr(datasets, name).__doc__
        assert "Source:" in text
        assert "Cite" in text


def test_import_is_light():
    heavy = "pooch anndata pandas torch scanpy requests"
    code = f"import sys, dyninfer.datasets; print([m for m in {heavy.split()} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
        == "[]"
    )


# ---- loaders on small files ---------------------------------------------------------------------------------------


def use(monkeypatch, folder, name, entry=None):
    """Put the hashes of the files in folder/name into the table and point DYNINFER_DATA there."""
    entry = entry or TABLE[name]

    def rehash(file):
        path = folder / name / file.name
        return (
            dataclasses.replace(file, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
            if path.is_file()
            else file
        )

    repacked = rehash(entry.repacked) if entry.repacked else None
    monkeypatch.setitem(
        TABLE,
        name,
        dataclasses.replace(entry, files=tuple(map(rehash, entry.files)), repacked=repacked),
    )
    monkeypatch.setenv(files.DATA_FOLDER, str(folder))


@pytest.fixture
def cite_folder(tmp_path):
    """Four days of 2, 3, 4 and 5 cells in 6 PCs; every value tells day, cell and PC."""
    (tmp_path / "cite_hspc").mkdir()
    for size, day in zip((2, 3, 4, 5), (2, 3, 4, 7), strict=True):
        x = 100 * day + 10 * np.arange(size)[:, None] + np.arange(6)
        np.save(tmp_path / "cite_hspc" / f"full_cite_pcas_50_day_{day}.npy", x.astype(np.float32))
    return tmp_path


def test_cite_hspc_stacks_the_days_in_order(cite_folder, monkeypatch):
    use(monkeypatch, cite_folder, "cite_hspc")
    adata = datasets.cite_hspc()
    assert adata.obs["day"].tolist() == [2.0] * 2 + [3.0] * 3 + [4.0] * 4 + [7.0] * 5
    assert adata.obsm["X_pca"].dtype == np.float32
    np.testing.assert_array_equal(adata.obsm["X_pca"][:, 0] // 100, adata.obs["day"])
    assert adata.obsm["X_pca"][13].tolist() == [740, 741, 742, 743, 744, 745]
    np.testing.assert_array_equal(adata.X, adata.obsm["X_pca"])
    adata.X[:] = 0
    assert adata.obsm["X_pca"].min() == 200
    assert adata.obs_names.is_unique
    assert adata.uns["source"]["licence"].startswith("MIT")


def test_cite_hspc_has_two_sizes_and_refuses_others_by_name(tmp_path, monkeypatch):
    (tmp_path / "cite_hspc").mkdir()
    for day in (2, 3, 4, 7):
        x = np.full((2, 100), day, np.float32)
        np.save(tmp_path / "cite_hspc" / f"full_cite_pcas_100_day_{day}.npy", x)
    monkeypatch.setenv(files.DATA_FOLDER, str(tmp_path))
    # The published file has another hash than this one.
    with pytest.raises(
        ValueError, match="full_cite_pcas_100_day_2.npy of data set 'cite_hspc' has"
    ):
        datasets.cite_hspc(100)
    with pytest.raises(ValueError, match="n_components must be 50 or 100.*found 30"):
        datasets.cite_hspc(30)


def test_embryoid_body_keeps_velocity_and_bin_with_their_cell(tmp_path, monkeypatch):
    (tmp_path / "embryoid_body").mkdir()
    rows = np.random.default_rng(0).permutation(20)
    for part, idx in (("val", rows[:8]), ("test", rows[8:])):
        x = np.repeat(idx[:, None].astype(float), 3, axis=1)
        np.savez(tmp_path / "embryoid_body" / f"{part}_rna.npz", X=x, v=-x, ts=idx // 4, idx=idx)
    use(monkeypatch, tmp_path, "embryoid_body")
    adata = datasets.embryoid_body()
    np.testing.assert_array_equal(adata.obsm["X_pca"][:, 0], np.arange(20))
    np.testing.assert_array_equal(adata.obsm["velocity_pca"], -adata.obsm["X_pca"])
    np.testing.assert_array_equal(adata.obs["time"], np.arange(20) // 4)
    np.testing.assert_allclose(adata.obs["day"], 1.5 + 6 * adata.obs["time"])
    assert adata.obs["bin"].iloc[-1] == "day 24-27"
    assert set(adata.obs_names[adata.obs["part"] == "val"]) == set(rows[:8].astype(str))


def test_emt_a549_turns_sample_numbers_into_hours(tmp_path, monkeypatch):
    (tmp_path / "emt_a549").mkdir()
    table = pd.DataFrame(
        {"samples": [3, 0, 1, 2, 3], "x1": [3.0, 0, 1, 2, 3], "x2": np.arange(5.0)}
    )
    table.to_csv(tmp_path / "emt_a549" / "emt.csv", index=False)
    use(monkeypatch, tmp_path, "emt_a549")
    adata = datasets.emt_a549()
    assert adata.obs["time"].tolist() == [0, 8, 24, 72, 72]
    assert adata.obsm["X_latent"].tolist() == [[0, 1], [1, 2], [2, 3], [3, 0], [3, 4]]


@pytest.mark.parametrize("form", ["published", "repacked"])
def test_weinreb_hematopoiesis_reads_both_forms_of_the_file(tmp_path, monkeypatch, form):
    (tmp_path / "weinreb_hematopoiesis").mkdir()
    days = [np.full((n, 2), float(n)) for n in (2, 3, 4)]
    if form == "published":
        nested = np.empty((1, 3), dtype=object)
        nested[0] = days
        np.save(tmp_path / "weinreb_hematopoiesis" / "Lineage.npy", nested)
    else:
        np.savez(
            tmp_path / "weinreb_hematopoiesis" / "weinreb_2d.npz",
            **{f"day_{2 * (k + 1)}": day for k, day in enumerate(days)},
        )
    use(monkeypatch, tmp_path, "weinreb_hematopoiesis")
    adata = datasets.weinreb_hematopoiesis()
    assert adata.obs["day"].tolist() == [2.0] * 2 + [4.0] * 3 + [6.0] * 4
    np.testing.assert_array_equal(adata.obsm["X_spring"][:, 1], np.repeat([2, 3, 4], [2, 3, 4]))


def test_larry_clones_has_numeric_days(tmp_path, monkeypatch):
    (tmp_path / "larry_clones").mkdir()
    obs = pd.DataFrame({"time_info": pd.Categorical(["6", "2", "4"])}, index=list("abc"))
    ad.AnnData(np.ones((3, 2), np.float32), obs=obs).write_h5ad(
        tmp_path / "larry_clones" / "test_adata_preprocessed.h5ad"
    )
    use(monkeypatch, tmp_path, "larry_clones")
    assert datasets.larry_clones().obs["day"].tolist() == [6.0, 2.0, 4.0]


def test_dyngen_velocity_passes_on_nothing_that_is_no_velocity(tmp_path, monkeypatch):
    (tmp_path / "dyngen_velocity").mkdir()
    velocity = sp.csc_matrix(np.arange(6.0).reshape(3, 2))
    adata = ad.AnnData(np.ones((3, 2), np.float32), uns={"gt_velocities": velocity})
    adata.write_h5ad(tmp_path / "dyngen_velocity" / "cellrank_bifurcating.h5ad")
    use(monkeypatch, tmp_path, "dyngen_velocity")
    loaded = datasets.dyngen_velocity()
    assert "gt_velocities" not in loaded.uns
    assert not loaded.layers


# ---- what goes wrong ----------------------------------------------------------------------------------------------


def test_altered_file_is_refused_with_both_hashes(cite_folder, monkeypatch):
    use(monkeypatch, cite_folder, "cite_hspc")
    path = cite_folder / "cite_hspc" / "full_cite_pcas_50_day_4.npy"
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(
        ValueError,
        match=f"day_4.npy of data set 'cite_hspc' has sha256 {found}, expected {expected}",
    ):
        datasets.cite_hspc()


def test_wrong_data_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv(files.DATA_FOLDER, str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="DYNINFER_DATA is .*nowhere', which is not a folder"):
        datasets.cite_hspc()


@pytest.mark.parametrize("name", DOWNLOADED)
def test_offline_error_is_one_sentence_with_files_source_and_remedy(name, monkeypatch, tmp_path):
    import requests

    def no_network(*args, **kwargs):
        raise requests.ConnectionError("HTTPSConnectionPool: Max retries exceeded")

    monkeypatch.setattr(requests, "get", no_network)
    monkeypatch.setattr(files, "_cache", lambda: tmp_path / "cache")
    monkeypatch.delenv(files.DATA_FOLDER, raising=False)
    with pytest.raises(ConnectionError) as caught:
        getattr(datasets, name)()
    message = str(caught.value)
    assert f"data set {name!r}" in message
    assert "connect to the internet, or set DYNINFER_DATA" in message
    assert "\n" not in message
    assert "Max retries" not in message
    assert caught.value.__suppress_context__
    for file in TABLE[name].files:
        assert f"{name}/{file.name} from {file.url}" in message


@pytest.fixture
def server(cite_folder, monkeypatch):
    """Serve the small files on the loopback interface under the table's entry for cite_hspc."""
    handler = partial(QuietHandler, directory=str(cite_folder / "cite_hspc"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{httpd.server_port}"
        entry = TABLE["cite_hspc"]
        moved = tuple(dataclasses.replace(file, url=f"{base}/{file.name}") for file in entry.files)
        use(monkeypatch, cite_folder, "cite_hspc", dataclasses.replace(entry, files=moved))
        monkeypatch.delenv(files.DATA_FOLDER)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(files, "_cache", lambda: cite_folder / "cache")
        yield httpd
        httpd.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_downloaded_files_are_cached(server, cite_folder):
    first = datasets.cite_hspc()
    for path in (cite_folder / "cite_hspc").iterdir():
        path.unlink()
    np.testing.assert_array_equal(datasets.cite_hspc().X, first.X)
    assert first.shape == (14, 6)


def test_data_folder_without_the_files_falls_back_to_download(server, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv(files.DATA_FOLDER, str(tmp_path / "empty"))
    assert datasets.cite_hspc().n_obs == 14


def test_altered_download_is_refused_with_both_hashes(server, cite_folder, monkeypatch):
    path = cite_folder / "cite_hspc" / "full_cite_pcas_50_day_2.npy"
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"a login page")
    found = hashlib.sha256(b"a login page").hexdigest()
    with pytest.raises(ValueError, match=f"'cite_hspc'.*expected {expected} but got {found}"):
        datasets.cite_hspc()


# ---- the published files, where they are at hand -------------------------------------------------------------------

real = pytest.mark.skipif(
    not os.environ.get("DYNINFER_DATA"), reason="DYNINFER_DATA names no folder of data"
)


@real
@pytest.mark.parametrize("name", DOWNLOADED)
def test_published_files_have_the_listed_size(name):
    adata = getattr(datasets, name)()
    assert adata.shape == (TABLE[name].cells, TABLE[name].features)
    assert adata.uns["source"]["reference"] == TABLE[name].reference


@real
@pytest.mark.parametrize(
    ("name", "key", "cells"),
    [
        ("cite_hspc", "day", {2: 6071, 3: 7643, 4: 8485, 7: 7195}),
        ("embryoid_body", "time", dict.fromkeys(range(5), 550)),
        ("emt_a549", "time", {0: 577, 8: 885, 24: 788, 72: 883}),
        ("weinreb_hematopoiesis", "day", {2: 1429, 4: 3781, 6: 5788}),
        ("larry_clones", "day", {2: 34, 4: 316, 6: 431}),
    ],
)
def test_published_files_have_the_known_cells_per_time(name, key, cells):
    assert getattr(datasets, name)().obs[key].value_counts().to_dict() == cells


@real
def test_the_first_of_a_hundred_components_are_those_of_fifty():
    hundred = datasets.cite_hspc(100).X
    fifty = datasets.cite_hspc(50).X
    assert hundred.shape == (29394, 100)
    assert np.corrcoef(hundred[:, 4], fifty[:, 4])[0, 1] > 0.9999


@real
def test_embryoid_body_parts_have_the_spread_of_the_full_data():
    # Constants of the 16,819 cells (docstring); 550 cells a bin against unequal bins leave a few per cent.
    pcs = datasets.embryoid_body().obsm["X_pca"][:, :5]
    np.testing.assert_allclose(pcs.std(0), [2.64561, 6.27800, 4.63171, 4.49815, 3.37244], rtol=0.1)
    np.testing.assert_allclose(pcs.mean(0)[0], 52.15457, rtol=0.01)


def test_file_entries_are_complete():
    for entry in TABLE.values():
        for file in entry.files:
            assert isinstance(file, File)
            assert len(file.sha256) == 64
            assert file.url.startswith("https://")
