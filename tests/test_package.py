"""What goes out: public names, one version, the contents of the wheel, and the words of the pages."""

import ast
import re
import zipfile
from operator import attrgetter
from pathlib import Path

import pytest
from test_readability import PARTICIPLES

import dyninfer as di

ROOT = Path(__file__).parents[1]
LARGEST_WHEEL = 5_000_000

# The public face. A name may be added at any time; it goes only with a line in the changelog that
# says what replaces it.
NAMES = {
    "di": """
        ActionMatching AllJumps ApparentDwellTimes BirthDeath Clones ConeCoupling Confusion
        Covariates DataManifold DensityCurve DensityRatio Diffusion DwellTimes EntropicOTCoupling
        Estimator Exact ExactLabels ExactTimes FieldEstimator FractionalDiffusion FractionalNoise FractionalSDE
        Gaussian GivenPairs GrowthFirstCoupling IdenticalChannels IndependentCoupling KMeansStates
        Labels Latent Localisation MarkovJump MarkovJumpInference MeanAcceleration MixtureStates
        OTCoupling Observed Only OptimalTransport PathEstimator Paths Periods PhysicalPotential
        Reversible SchrodingerBridge SnapshotEstimator Snapshots SparseOTCoupling
        StochasticInterpolant Training Trajectories UnbalancedOTCoupling UnbalancedTransport
        UnbalancedWeights Variational VectorFieldGP View WassersteinLagrangianFlow __version__ datasets load
        log_density metrics pl read_times simulate simulators solvers testing tl
    """,
    "di.tl": """
        Examination Recommendation StateCountFit TransitionPaths Tuned ancestors chapman_kolmogorov compare
        descendants doctor drivers fates first_passage fit_dwell_times fit_state_counts flows
        implied_timescales information_criteria length_of_stay likelihood_ratio next_states
        prevalence recommend remove_baseline score_fates score_growth segment_tracks sojourn_times
        survival time time_to_fate transition_matrix transition_paths transition_probabilities
        transition_table trends tune velocity_embedding velocity_layer with_velocities
    """,
    "di.pl": """
        animation chapman_kolmogorov comparison evaluation fan fate_bars fate_triangle forecasts
        growth heatmap history implied_timescales landscape marginals mass potential predicted
        prevalence rates sankey stream trajectories trends
    """,
    "di.metrics": """
        METRICS MongeGap UndefinedMetricError brier_score compare_populations coverage crps
        energy_distance energy_score finite_sample_floor gaussian_kl hellinger_distance
        median_distance mmd monge_gap sliced_wasserstein state_coverage wasserstein
    """,
    "di.datasets": """
        available cite_hspc dyngen_velocity embryoid_body emt_a549 larry_clones mesc_retinoic_acid
        nile_minima single_particle_tracks weinreb_hematopoiesis
    """,
    "di.simulators": """
        AlanineDipeptide BirthDeath BouncingShapes BranchingNetwork BranchingPopulation
        BurstingChannel CellStates DoubleWell FlashingRatchet FreeWavePacket HarmonicWavePacket
        HydrogenSuperposition IonChannel OrnsteinUhlenbeck PatientPanel ProteinFolding
        Simulator ToggleWithGrowth
    """,
    "di.solvers": """
        Euler EulerMaruyama FractionalEuler Gillespie Heun RungeKutta4 SRA1 Skeleton Solver
        TorchDiffEq TorchSDE Tsit5 named
    """,
    "di.testing": """
        check_estimator checks_of example_data example_paths example_velocities
    """,
}


def named(module):
    return set(NAMES[module].split())


def face(module):
    return di if module == "di" else attrgetter(module.removeprefix("di."))(di)


@pytest.mark.parametrize("module", NAMES)
def test_no_public_name_has_gone(module):
    assert not named(module) - set(face(module).__all__)


def test_the_citation_names_the_version_of_the_package():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (\S+)$", citation, flags=re.MULTILINE)[1] == di.__version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    folder = tmp_path_factory.mktemp("wheel")
    return Path(next(builder.build(directory=str(folder), versions=["standard"])))


def test_the_wheel_has_the_version_of_the_package(wheel):
    assert wheel.name == f"dyninfer-{di.__version__}-py3-none-any.whl"


def test_the_wheel_holds_the_package_its_data_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"dyninfer", f"dyninfer-{di.__version__}.dist-info"}
    rooms = {name.split("/")[1] for name in names if name.startswith("dyninfer/")}
    on_disk = {path.name for path in (ROOT / "dyninfer").iterdir()} - {"__pycache__"}
    assert rooms == on_disk | {"_data", "_tutorials"}
    needed = ["py.typed", "__init__.pyi", "report/templates/report.html"]
    needed += ["_data/mesc_retinoic_acid/mesc_retinoic_acid.h5ad", "_tutorials/01_first_steps.py"]
    assert not {f"dyninfer/{name}" for name in needed} - set(names)


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < LARGEST_WHEEL


def pages():
    return [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "tutorials").glob("*.py")]


def code(page):
    """Python sources of a page: its code blocks, or the whole tutorial."""
    text = page.read_text()
    if page.suffix == ".py":
        return [text]
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def bound_names(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(node, ast.arg):
            yield node.arg
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name


# Words that other words of the field replace: lagrangian, distribution, baseline.
WORDS = PARTICIPLES | {"law", "laws", "rival", "rivals", "player", "players"}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_names_in_the_code_of_a_page_say_what_a_thing_is(page):
    names = {name for source in code(page) for name in bound_names(source)}
    assert not names & WORDS
