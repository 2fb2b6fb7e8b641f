"""Arrays: whatever holds numbers as a plain array, missing entries as NaN, columns by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.words import listed, quoted, texts
from dyninfer.learning.settings import brief

if TYPE_CHECKING:
    from torch import Tensor

DENSE_LIMIT_GB = 4.0  # what a laptop holds beside the rest
# Whole numbers up to this have an exact float32.
_EXACT_IN_SINGLE = 2**24
# What pandas calls the numbers in an array of objects.
_NUMBERS = ("floating", "integer", "mixed-integer-float", "decimal", "empty")


def as_array(values: Any, name: str) -> ndarray:
    """Tensor, sparse matrix, DataFrame, masked array or nested list as an array in memory.

    Masked, None and NA entries become NaN. Bytes come in the order of this machine.

    Raises
    ------
    TypeError
        If the values are not real numbers, or truth values.
    ValueError
        If rows differ in length.
    """
    array = _plain(values, name)
    if array.dtype == object:
        array = _from_objects(array, name)
    if array.dtype.kind == "c":
        raise TypeError(
            f"{name} holds complex values; give their real and imaginary parts as separate features"
        )
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} holds {array.dtype} values; it must hold numbers")
    if array.dtype == np.longdouble:
        # More digits than any method uses, or torch holds.
        array = array.astype(np.float64)
    native = array.dtype.newbyteorder("=")
    array = array.astype(native, copy=False)
    if any(stride < 0 for stride in array.strides):
        # Torch takes no reversed views.
        array = array.copy()
    return array


def as_tensor(values: Any, name: str) -> Tensor:
    """Real numbers as a float64 tensor; a tensor stays on its device, with its graph."""
    import torch

    if not isinstance(values, torch.Tensor):
        array = as_array(values, name)
        return torch.from_numpy(array.astype(np.float64))
    return dense_tensor(values, name).to(torch.float64)


def dense_tensor(values: Tensor, name: str) -> Tensor:
    """A tensor of any layout with all of its numbers, on its device, with its graph.

    Half precision widens to float32, which holds all of its numbers.

    Raises
    ------
    TypeError
        If the numbers are complex.
    ValueError
        If the tensor holds no numbers ("meta"), or rows that differ in length (nested).
    """
    if values.device.type == "meta":
        raise ValueError(f"{name} is on the device 'meta', which holds no numbers")
    if values.is_nested:
        raise ValueError(f"{name} is a nested tensor, whose rows may differ in length; pad them")
    if values.is_complex():
        raise TypeError(f"{name} holds complex values; give their real and imaginary parts")
    if values.is_quantized:
        return values.dequantize()
    # Eight bits and less can hardly be computed with, and NumPy has no bfloat16.
    if values.is_floating_point() and values.dtype.itemsize < 4:
        values = values.float()
    return values.to_dense()


def as_names(values: Any, name: str) -> list[Any]:
    """Names as a list; a name alone is a list of one."""
    if isinstance(values, str):
        return [values]
    return as_list(values, name, "names")


def as_list(values: Any, name: str, members: str) -> list[Any]:
    """Members of a sequence; ``members`` says in a message what they are.

    Raises
    ------
    TypeError
        If the values are no sequence: text, a mapping, a set, a number.
    """
    if not isinstance(values, str | bytes | Mapping | Set):
        try:
            return list(values)
        # The last is of memory with several dimensions.
        except (TypeError, KeyError, NotImplementedError):
            pass
    raise TypeError(f"{name} must be a list with {members}, found {brief(values)}")


def as_floats(values: Any, name: str) -> ndarray:
    """Numbers as float32, or float64 where float32 would not hold them.

    Float64 and long double become float64, and so do whole numbers beyond 2²⁴; the rest is float32.
    """
    array = as_array(values, name)
    if array.dtype.kind == "b":
        raise TypeError(f"{name} holds {array.dtype} values; it must hold numbers")
    dtype = np.float64 if _needs_double(array) else np.float32
    return array.astype(dtype, copy=False)


def dense_rows(array: Any, rows: ndarray, name: str = "X") -> ndarray:
    """Rows of a dense, sparse or backed matrix as floats; see :func:`as_floats`.

    Raises
    ------
    MemoryError
        If the block would exceed 4 GB; the message says how large it is and what to use instead.
    TypeError
        If the values are not numbers.
    """
    shape = array.shape[1:]
    check_size(len(rows), int(np.prod(shape)), name)
    return as_floats(array[rows], name)


def check_size(n_rows: int, n_columns: int, name: str) -> None:
    """Raise a MemoryError if so many rows are too large to be held dense at once."""
    # Four bytes a number.
    gigabytes = 4 * n_rows * n_columns / 1e9
    if gigabytes > DENSE_LIMIT_GB:
        raise MemoryError(
            f"{name} as a dense {n_rows} x {n_columns} array takes {gigabytes:.1f} GB; "
            f"reduce it first (sc.pp.pca(adata)) and give use_rep='X_pca'"
        )


def column_names(values: Any) -> tuple[str, ...] | None:
    """Names of the columns of a DataFrame; None for what has none, and for numbers 0, 1, 2, ..."""
    if not isinstance(values, pd.DataFrame) or isinstance(values.columns, pd.RangeIndex):
        return None
    return texts(values.columns)


def by_columns(frame: pd.DataFrame, features: Sequence[str], name: str) -> pd.DataFrame:
    """Columns of a DataFrame in the order of ``features``; others are left out.

    Raises
    ------
    ValueError
        If a feature has no column, or several.
    """
    columns = column_names(frame) or ()
    position = {column: i for i, column in enumerate(columns)}
    for feature in features:
        if feature not in position:
            raise ValueError(
                f"{name} has no column {quoted(feature)}; its columns are {listed(columns)}. "
                "Name the columns as the features, or give an array: to_numpy()"
            )
    check_unique(columns, name)
    order = [position[feature] for feature in features]
    return frame.iloc[:, order]


def in_columns_of(values: Any, other: Any, name: str, other_name: str) -> Any:
    """Values with their columns in the order of the other's, where both are DataFrames.

    Raises
    ------
    ValueError
        If one has a column that the other has not, or several of one name.
    """
    if not isinstance(values, pd.DataFrame) or not isinstance(other, pd.DataFrame):
        return values
    columns = values.columns.astype(str)
    others = other.columns.astype(str)
    if columns.equals(others):
        return values
    # Columns that are only numbered have no names: their order is the user's word.
    is_named = column_names(values) is not None and column_names(other) is not None
    differing = columns.symmetric_difference(others)
    if len(differing) and not is_named:
        return values
    if len(differing):
        raise ValueError(
            f"{name} and {other_name} have different columns: {brief(differing[0])} is in "
            "only one of them; give both the same features"
        )
    check_unique(tuple(columns), name)
    check_unique(tuple(others), other_name)
    order = columns.get_indexer(others)
    return values.iloc[:, order]


def default_features(n: int) -> tuple[str, ...]:
    """Names of features that were given none: ``x0, x1, ...``."""
    return tuple(f"x{i}" for i in range(n))


def check_unique(features: Sequence[str], name: str) -> None:
    """Raise a ValueError for a name of a feature that comes twice."""
    counts = Counter(features)
    for feature, count in counts.items():
        if count > 1:
            raise ValueError(
                f"{name} has several features named {quoted(feature)}; names must be unique: "
                "adata.var_names_make_unique() makes gene names unique"
            )


def _plain(values: Any, name: str) -> ndarray:
    """An array of any dtype."""
    if hasattr(values, "detach"):
        tensor = dense_tensor(values.detach(), name)
        return tensor.cpu().numpy()
    # A dask array, such as a zarr store that is read lazily: its chunks may be sparse.
    if hasattr(values, "compute"):
        values = values.compute()
    if hasattr(values, "toarray"):
        values = values.toarray()
    if isinstance(values, np.ma.MaskedArray):
        return _unmasked(values)
    try:
        return np.asarray(values)
    # The last is of lists of tensors that are being learned.
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} must be a rectangular array, found {brief(values)}") from None


def _unmasked(values: np.ma.MaskedArray) -> ndarray:
    mask = np.ma.getmaskarray(values)
    if not mask.any():
        return values.data
    dtype = values.dtype
    if dtype.kind != "O":
        # Whole numbers have no NaN of their own.
        dtype = np.result_type(dtype, np.float32)
    plain = values.data.astype(dtype)
    plain[mask] = np.nan
    return plain


def _needs_double(array: ndarray) -> bool:
    """Whether float32 would lose digits of the numbers."""
    if array.dtype.kind == "f":
        return array.dtype.itemsize >= 8
    if array.size == 0:
        return False
    # Of floats: the smallest integer has no absolute value of its own kind.
    sizes = np.abs(array.astype(np.float64))
    largest = sizes.max()
    return bool(largest > _EXACT_IN_SINGLE)


def _from_objects(array: ndarray, name: str) -> ndarray:
    flat = array.ravel()
    kind = pd.api.types.infer_dtype(flat, skipna=True)
    # Text such as "1.5" would become a number without a word.
    if kind not in _NUMBERS:
        raise TypeError(f"{name} holds {kind} values; it must hold numbers")
    missing = pd.isna(array)
    numbers = np.where(missing, np.nan, array)
    try:
        return numbers.astype(np.float64)
    except (OverflowError, TypeError):
        raise ValueError(f"{name} holds numbers beyond what double precision holds") from None
