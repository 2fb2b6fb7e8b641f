"""From data to generators: fits, refinement of a network's belief, posterior draws, tables.

Here belong: maximisation (`optimise`), fits by likelihood (`fitting`, `fitting_hidden`, `em`),
where they begin (`starts`), the network's belief as a prior and its refinement (`network_prior`,
`refine`), weighted draws (`importance`, `distributions`), what comes out (`result`, `summaries`).

What is *not* here: likelihoods (`jumps/likelihood`), the network itself (`jumps/amortized`), and
reading of data or of settings (`estimators`, `jumps/settings`).
"""
