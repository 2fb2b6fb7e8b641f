"""Likelihoods of jump processes that are observed now and then.

Here belong: which jumps can happen (`scheme`), what is observed of a state (`observation`), and the
log-likelihood of data given both: of exact labels (`panel`), of hidden states (`hidden`), of clones
(`clones`). Also what data are reduced to before a likelihood: labels of a signal (`discretize`),
counted transitions (`statistics`).

What is *not* here: anything that is maximised, drawn or put in a table (`jumps/posterior`), and
what follows from a generator without data (`jumps/process`).
"""
