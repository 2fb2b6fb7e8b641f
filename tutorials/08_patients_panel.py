# ---
# jupytext:
#   text_representation:
#     extension: .py
#     format_name: percent
# kernelspec:
#   display_name: Python 3
#   language: python
#   name: python3
# ---

# %% [markdown]
# # A panel of patients: does treatment slow the disease?
#
# *Does the drug slow the disease, and how long does a patient stay in each stage?* A physician sees a patient once a year or so, and
# writes down the stage. Nobody sees the day on which a stage begins. A patient who was mild last year and is severe today
# has been moderate in between, unseen. Only a death is known to the day.
#
# Such data are a **panel**. `MarkovJumpInference` fits the rates between stages by exact likelihood, whatever happened between
# visits. Rates may depend on treatment and age. R's msm fits the same models, and both agree on its data sets
# ([results](../results.md)).
#
# The trial here is simulated, so every answer can be compared with the truth.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import dyninfer as di

blue, orange, green, grey = "#0072b2", "#d55e00", "#009e73", "0.6"
arms = {"placebo": orange, "drug": blue}

# %% [markdown]
# ## The table
#
# 400 patients begin with a mild disease. Every other one gets the drug. Visits are irregular, about a year apart, for eight years.
# After one visit in twenty a patient leaves the study. A row is a visit or a death.

# %%
trial = di.simulators.PatientPanel()
visits = trial.table(400, seed=0)
visits.head(8)

# %%
colors = {"mild": "#a6cee3", "moderate": "#fdbf6f", "severe": "#e31a1c", "dead": "black"}
fig, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained", sharex=True)
for ax, arm in zip(axes, arms, strict=True):
    own = visits[visits["treatment"] == arm]
    for place, (_, rows) in enumerate(list(own.groupby("patient", observed=True))[20:34]):
        ax.plot(rows["year"], [place] * len(rows), color="0.85", lw=1, zorder=0)
        ax.scatter(rows["year"], [place] * len(rows), c=rows["stage"].map(colors), s=28)
    ax.set(title=f"14 patients on {arm}", xlabel="years since the first visit", yticks=[])
for stage, color in colors.items():
    axes[0].scatter([], [], color=color, s=28, label=stage)
_ = fig.legend(loc="outside lower center", ncols=4, frameon=False)

# %% [markdown]
# How often did one stage follow another? In this table a mild patient is often seen severe at the next visit. That is no reason to
# allow the jump: the disease passes through the moderate stage.

# %%
following = visits.groupby("patient", observed=True)["stage"].shift(-1)
print(pd.crosstab(visits["stage"], following, rownames=["stage"], colnames=["at the next visit"]))

# %% [markdown]
# ## The fit
#
# The model is told three things:
#
# * **which direct jumps can happen**, by `Only`;
# * **what is observed**: stages without error, and the moment of a death, `ExactLabels(entries=["dead"])`;
# * **what rates depend on**, by formulas as in R. Here the drug acts on the two jumps that make the disease worse, each with an
#   effect of its own. Age acts on all three deaths alike.
#
# The fitted rates are those of a patient whose numerical covariates are all 0. So we count age in decades from 60.

# %%
deaths = ["mild>dead", "moderate>dead", "severe>dead"]
worse = ["mild>moderate", "moderate>severe"]
age = di.Covariates("~ decades", jumps=deaths, shared=True)
drug = di.Covariates("~ treatment", jumps=worse)


def as_paths(table):
    """Paths of a table of visits, with age in decades from 60."""
    return di.Paths.from_dataframe(
        table.assign(decades=(table["age"] - 60) / 10),
        time_key="year",
        path_key="patient",
        state_key="stage",
        covariate_keys=["treatment", "decades"],
    )


def fit(paths, covariates, **changes):
    """Maximum likelihood, without a prior: what the tests below need."""
    settings = {
        "observation": di.ExactLabels(entries=["dead"]),
        "jumps": di.Only(trial.jumps),
        "prior_width": None,
    }
    model = di.MarkovJumpInference(**settings | changes, covariates=covariates)
    return model.fit(paths, progress=False)


panel = as_paths(visits)
model = fit(panel, age + drug)
rates = model.confidence_intervals()
true_rates = dict(zip(trial.jumps, trial.rates, strict=True))
rates["true"] = [true_rates[f"{row.source}>{row.target}"] for row in rates.itertuples()]
print(rates.drop(columns="flat").round(3).to_string(index=False))
inside = rates["true"].between(rates["low"], rates["high"])
assert inside.all()

# %% [markdown]
# Rates are per year, on placebo at 60 years of age, with 90 % intervals. All six true rates are inside.
#
# ## Does the drug work?
#
# A **hazard ratio** of 0.5 says that a jump happens half as often with the drug as without. For age it is per decade.

# %%
effects = model.effects_.table()
truth = dict(zip(trial.jumps, trial.treatment, strict=True)) | {", ".join(deaths): trial.age}
effects["true"] = effects["jumps"].map(truth)
printed = ["covariate", "jumps", "hazard_ratio", "low", "high", "true", "p_value"]
print(effects[printed].round(4).to_string(index=False))
assert effects["true"].between(effects["low"], effects["high"]).all()

fig, ax = plt.subplots(figsize=(7.5, 2.4), layout="constrained")
place = np.arange(len(effects))[::-1]
half = np.abs(effects[["low", "high"]].to_numpy().T - effects["hazard_ratio"].to_numpy())
ax.errorbar(effects["hazard_ratio"], place, xerr=half, fmt="o", color=blue, capsize=3, label="95 %")
ax.plot(effects["true"], place, "|", color="black", ms=16, label="true")
ax.axvline(1, color=grey, lw=1, zorder=0)
names = ["age, per decade: death", "drug: mild to moderate", "drug: moderate to severe"]
ax.set_yticks(place, names)
ax.set_xscale("log")
ax.set_xticks([0.4, 0.6, 1, 1.5, 2], ["0.4", "0.6", "1", "1.5", "2"])
ax.minorticks_off()
ax.set(xlabel="hazard ratio", ylim=(-0.6, 2.6))
_ = ax.legend(loc="center right", frameon=False)

# %% [markdown]
# An interval says how large an effect is. A **likelihood-ratio test** says whether the data need it at all. It compares a model
# with one that has more effects. Three questions:
#
# 1. Is the drug needed?
# 2. Is its effect on the two jumps different?
# 3. Does it act on the other jumps too, on deaths and on recovery?

# %%
without = fit(panel, age)
alike = fit(panel, age + di.Covariates("~ treatment", jumps=worse, shared=True))
everywhere = fit(panel, age + di.Covariates("~ treatment"))
tests = pd.concat(
    [
        di.tl.likelihood_ratio(without, model),
        di.tl.likelihood_ratio(alike, model),
        di.tl.likelihood_ratio(model, everywhere),
    ],
    keys=["drug or nothing", "two effects or one", "all jumps or two"],
).droplevel(1)
print(tests.to_string())
needed, different, elsewhere = tests["p_value"]
assert needed < 1e-6 < 0.1 < min(different, elsewhere)

# %% [markdown]
# The drug is needed: the first probability is below one in a million. The other two are large: one effect on both jumps would do,
# and nothing shows that the drug acts elsewhere. In truth the two ratios are 0.5 and 0.6. 400 patients are too few to tell
# them apart, and "not shown" does not mean "the same".
#
# ## How long in each stage?
#
# Tables of a model take `covariates=`, and all have intervals. A **sojourn** is the mean time of one visit to a stage. A **length of
# stay** is the mean total time in it, here within eight years of a mild patient's first visit.

# %%
rows = []
for arm in arms:
    patient = {"treatment": arm, "decades": 0.0}
    sojourn = di.tl.sojourn_times(model, covariates=patient)
    stay = di.tl.length_of_stay(model, 8.0, start="mild", covariates=patient)
    process = trial.process(arm)
    for name, table in (("sojourn", sojourn), ("stay within 8 years", stay)):
        rows.append(table[table["state"] != "dead"].assign(arm=arm, quantity=name))
    rows[-2]["true"] = process.holding_times()[:3].numpy()
    rows[-1]["true"] = di.tl.length_of_stay(process, 8.0, start="mild")["value"][:3].to_numpy()
stays = pd.concat(rows)
columns = ["quantity", "arm", "state", "value", "low", "high", "true"]
print(stays[columns].round(2).to_string(index=False))
severe = stays[(stays["quantity"] != "sojourn") & (stays["state"] == "severe")].set_index("arm")
assert severe.loc["drug", "high"] < severe.loc["placebo", "low"]
covered = stays["true"].between(stays["low"], stays["high"]).mean()
print(f"{covered:.0%} of the true times are inside their 90 % intervals")

# %% [markdown]
# The two quantities answer different questions. Once a patient is severe the drug does not help: the sojourns of that stage are the
# same in both arms, by assumption. But fewer patients get there, so the years spent severe within eight years are less than half.
#
# ## How many are alive?
#
# `tl.survival` is the probability that death has not come by a time. It follows from all rates together, although the drug acts on no death.

# %%
years = np.linspace(0, 8, 33)
fig, ax = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
for arm, color in arms.items():
    patient = {"treatment": arm, "decades": 0.0}
    alive = di.tl.survival(model, "dead", years, start="mild", covariates=patient)
    true = di.tl.survival(trial.process(arm), "dead", years, start="mild")
    ax.fill_between(years, alive["low"], alive["high"], color=color, alpha=0.25, lw=0)
    ax.plot(years, alive["value"], color=color, label=arm)
    ax.plot(years, true["value"], color="black", ls="--", lw=0.9)
    print(
        f"{arm:8} alive after 8 years: {alive['value'].iloc[-1]:.2f} (true {true['value'].iloc[-1]:.2f})"
    )
ax.plot([], [], color="black", ls="--", lw=0.9, label="true")
ax.set(xlabel="years", ylabel="alive", ylim=(0, 1.02), title="a patient of 60 who begins mild")
_ = ax.legend(loc="lower left")

# %% [markdown]
# ## Does the model fit?
#
# Numbers with intervals are worth nothing if the model is wrong. **Prevalence** compares the observed share of each stage over time
# with the share that the model expects. Each patient counts with his or her own covariates. Between two visits a
# patient is in the stage of the nearer one.
#
# Below are the patients on the drug. Above is our model; below it is the one that does not know of the drug.

# %%
of_patient = visits.groupby("patient", observed=True)["treatment"].first()
on_drug = panel[(of_patient.loc[panel.names] == "drug").to_numpy()]
fig, axes = plt.subplots(2, 4, figsize=(11, 4.8), layout="constrained", sharex=True, sharey=True)
misfit = {}
for row, (name, one) in zip(
    axes, {"model with drug": model, "model without": without}.items(), strict=True
):
    table = di.tl.prevalence(
        one, on_drug, np.arange(9), interpolation="midpoint", followed_until=8, n_samples=200
    )
    di.pl.prevalence(table, time_unit="years", ax=row)
    row[0].set_ylabel(f"share, {name}")
    misfit[name] = (table["observed"] - table["expected"]).abs().mean()
for ax in axes[0]:
    ax.set_xlabel("")
print({name: round(float(value), 3) for name, value in misfit.items()})
assert misfit["model with drug"] < 0.6 * misfit["model without"]

# %% [markdown]
# With the drug the lines meet the points. Without it the model expects too many severe patients, and too few mild ones.
#
# Near the end the observed share of the dead lies a little above the line. This comes from those who left: a patient who leaves alive counts no more, one
# who has died goes on counting. Rates are not biased by that, for the likelihood uses each patient only until the last visit.
#
# ## When stages are misread
#
# Stages are judgements. In a second trial, one visit in twenty gives a neighbouring stage. If it is taken at face value, a wrong stage looks like two jumps, and
# some pairs of visits are impossible:

# %%
careless = di.simulators.PatientPanel(misread=0.05)
misread = as_paths(careless.table(400, seed=0))
try:
    fit(misread, age + drug)
except ValueError as error:
    print(error)

# %% [markdown]
# `Confusion` learns how often each stage is mistaken for its neighbour, together with the rates. For comparison, the same labels are also taken at face value, with a jump
# back from severe to moderate that makes them possible.

# %%
neighbours = ["mild>moderate", "moderate>mild", "moderate>severe", "severe>moderate"]
fits = {
    "believed": fit(misread, age + drug, jumps=di.Only([*trial.jumps, "severe>moderate"])),
    "may be wrong": fit(
        misread,
        age + drug,
        observation=di.Confusion(allowed=neighbours, entries=["dead"], prior_weight=0),
    ),
}
table = pd.DataFrame({"true": true_rates})
for name, one in fits.items():
    estimates = one.confidence_intervals()
    estimates.index = estimates["source"] + ">" + estimates["target"]
    table[name] = estimates["rate"]
print(table.round(3).to_string())
confusion = fits["may be wrong"].emission_.confusion.numpy()
stages = list(trial.state_names)
print(pd.DataFrame(confusion, index=stages, columns=stages).round(3).to_string())
recovery = table.loc["moderate>mild"]
assert recovery["believed"] > 2 * recovery["true"]
assert abs(np.log(recovery["may be wrong"] / recovery["true"])) < np.log(1.3)

# %% [markdown]
# Taken at face value, misread stages more than double the rate of recovery. With errors in the model, this rate is within 30 % of the truth. The confusion
# matrix finds about five misread mild stages in a hundred. It is least certain about the severe stage, which is seen least often.
#
# ## What to distrust
#
# * **Visits that depend on the disease.** The likelihood takes the times of visits as given. If patients come because they feel worse, rates come
#   out too high. So they do if patients leave because of their stage.
# * **No memory.** A rate does not depend on how long a patient has been in the stage. If it does, prevalence shows it,
#   and `Periods` or a stage in two phases may help.
# * **Covariates between visits.** A value holds until the next visit. Treatment that was started in between is dated too late.
# * **Effects that the formula leaves out.** A ratio is the same in all stages and at all times only because the formula says so. Compare with a
#   larger model by `tl.likelihood_ratio`.
# * **A small p-value does not mean a large effect**, and a large one does not mean no effect. Read the intervals.
# * **Not randomised?** Then the ratio compares the treated with the untreated, and not treatment with its absence.
#
# ## Next
#
# * [The page of the method](../methods/markov_jump.md): all observation schemes, periods, tests, tables.
# * [Clones and cell types as jump processes](07_markov_jumps.py): the same rates for cells.
