"""Formulas of covariates: their columns, and the numbers that they make of a table.

A formula names columns and combines them; it calls no function. So a model file that holds one
holds no code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.words import listed, quoted
from dyninfer.learning.settings import brief

# Values of every column: the levels of categories, the first of them the reference; None for
# numbers.
Levels = dict[str, list[str] | None]

_OPERATORS = frozenset({"~", "+", "-", "*", ":", "/", "**", "^", "in"})


def formula_columns(formula: str) -> tuple[str, ...]:
    """Columns that a formula names, in their order.

    Raises
    ------
    ValueError
        If it cannot be read, calls a function, or has a left side or no constant term.
    """
    tokens = _tokens(formula)
    names: dict[str, None] = {}
    for token in tokens:
        kind = token.kind.name
        if kind == "PYTHON":
            raise ValueError(
                f"formula {quoted(formula)} calls a function, {quoted(token.token)}; put what it "
                "makes into a column of its own"
            )
        if kind == "OPERATOR" and token.token not in _OPERATORS:
            raise ValueError(
                f"formula {quoted(formula)} has the operator {quoted(token.token)}; those that can "
                "be used are + : * / ^ and -"
            )
        if kind == "NAME":
            names[token.token] = None
    _check_terms(formula)
    if not names:
        raise ValueError(
            f"formula {quoted(formula)} names no column; write '~ sex + age', say, or leave "
            "covariates out"
        )
    return tuple(names)


def levels_of(table: pd.DataFrame | None, columns: tuple[str, ...]) -> Levels:
    """Values of the columns that occur, in the order of the categories; None for numbers.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    levels: Levels = {}
    if table is None:
        table = pd.DataFrame()
    absent = [name for name in columns if name not in table]
    if absent:
        raise ValueError(
            f"the data lack the covariate {quoted(absent[0])}; there are {listed(table.columns)}: "
            "give Paths(covariates=...), or an AnnData with it in obs"
        )
    for name in columns:
        column = table[name]
        levels[name] = None
        if isinstance(column.dtype, pd.CategoricalDtype):
            levels[name] = list(column.cat.remove_unused_categories().cat.categories)
    return levels


def formula_matrix(formula: str, table: pd.DataFrame, levels: Levels) -> pd.DataFrame:
    """Columns of numbers that a formula makes of a table ``(row, column)``, the constant left out.

    Categories are compared with the first of their levels.

    Raises
    ------
    KeyError, ValueError
        If a column is missing, or is not of the kind of the fit.
    """
    from formulaic import model_matrix

    names = formula_columns(formula)
    own = {name: _column(table, name, levels[name]) for name in names}
    frame = pd.DataFrame(own)
    # No name may be looked up in the program around.
    matrix = model_matrix(formula, frame, context={})
    return pd.DataFrame(matrix).drop(columns="Intercept").astype(np.float64)


def without_repeats(table: pd.DataFrame) -> tuple[pd.DataFrame, ndarray]:
    """Distinct rows of a table, and which of them each row is ``(row,)``."""
    groups = table.groupby(list(table.columns), observed=True, sort=False, dropna=False)
    number = groups.ngroup().to_numpy()
    _, first = np.unique(number, return_index=True)
    return table.iloc[first], number


def _tokens(formula: str) -> list[Any]:
    # Imported late: it takes a tenth of a second.
    from formulaic.errors import FormulaicError
    from formulaic.parser import DefaultFormulaParser

    parser = DefaultFormulaParser()
    try:
        return list(parser.get_tokens(formula))
    except (FormulaicError, SyntaxError) as error:
        raise _unreadable(formula) from error


def _check_terms(formula: str) -> None:
    from formulaic import Formula, SimpleFormula
    from formulaic.errors import FormulaicError

    try:
        terms = Formula(formula)
    except (FormulaicError, SyntaxError) as error:
        raise _unreadable(formula) from error
    if not isinstance(terms, SimpleFormula):
        raise ValueError(
            f"formula {quoted(formula)} has a left side; write the covariates alone, '~ sex + age'"
        )
    if "1" not in [str(term) for term in terms]:
        raise ValueError(
            f"formula {quoted(formula)} takes the constant away, which is the rate where all "
            "covariates are 0; leave out 0 and - 1"
        )


def _unreadable(formula: str) -> ValueError:
    return ValueError(
        f"formula {brief(formula)} cannot be read; write names of columns, '~ sex + age', with : "
        "and * for interactions"
    )


def _column(table: pd.DataFrame, name: str, levels: list[str] | None) -> Any:
    """One column as it was at the fit: numbers, or categories with the levels of the fit."""
    if name not in table:
        every = listed(table.columns)
        raise ValueError(f"covariates lack {quoted(name)}; they have {every}")
    column = table[name]
    is_category = isinstance(column.dtype, pd.CategoricalDtype)
    if levels is None:
        if is_category:
            raise ValueError(
                f"covariate {quoted(name)} is a number in the fit, found "
                f"{quoted(column.iloc[0])}; give numbers"
            )
        return column.to_numpy()
    text = column.astype(str)
    is_new = ~text.isin(levels)
    if is_new.any():
        raise ValueError(
            f"covariate {quoted(name)} is {quoted(text[is_new].iloc[0])}, which was not in the "
            f"data; there are {listed(levels)}"
        )
    return pd.Categorical(text, categories=levels)
