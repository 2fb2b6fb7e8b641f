"""Odd values, as code."""

import random
import re
from collections.abc import Callable

Draw = Callable[[random.Random], str]


def words(text: str) -> list[str]:
    return text.split()


NUMBERS = words(
    "0 1 -1 2 3 7 0.5 -0.5 1.5 -0.0 float('nan') float('inf') -float('inf') 1e308 1e-308 1e39 1e-46 "
    "2**31 2**63 10**400 True False np.float32(1) np.int8(1) np.float64('nan') np.array(1) "
    "np.array([1]) torch.tensor(1.) torch.tensor(float('nan')) 1j np.bool_(True)"
)
OTHERS = words(
    "None '' 'a' 'day' b'a' [] () {} set() [1] [None] ['a'] object() pd.NA pd.NaT slice(None) "
    "len int np.zeros(0) np.zeros((0,2)) np.zeros((2,0)) range(3) iter([1]) {'a':1} 'x'*500 'a\\nb' "
    "Path('nowhere') pd.Timestamp('2020-01-01') pd.Timedelta(days=1) Ellipsis snapshots() paths() "
    "adata() np.datetime64('2020-01-01') frozenset([1])"
)
TIMES = words(
    "[0,1] [1,0] [0,0] [0,1,1] [0] [] [0,float('nan')] [0,float('inf')] [0,1e300] [0,1e-300] [-1,1] "
    "[1.7e9,1.7e9+60] [0,1,3] [3,1,0] ['0','1'] ['a','b'] [0,None] [0,pd.NA] [True,False] [0,1j] "
    "[[0,1]] np.array([0,1],'>f8') np.array([0,1],'float16') np.array([1,0])[::-1] "
    "torch.tensor([0.,1.]) torch.tensor([0,1],dtype=torch.bfloat16) pd.Series([0,1]) "
    "pd.Series([0,1],dtype='Int64') pd.Series([0,None],dtype='Int64') pd.Categorical([0,1]) "
    "pd.to_datetime(['2020-01-01','2020-01-03']) pd.to_timedelta([0,1],unit='D') "
    "np.ma.masked_equal([0,1],1) range(2) (0,1) {0,1} {0:1} iter([0,1]) np.linspace(0,1,2) "
    "[0,1e-320] [0,10**400] np.zeros((2,2)) 'ab' [0,2**63] [0.1,0.1+1e-17] np.array([0,1],object)"
)
# What is done to an array of numbers.
FORMS = (
    "({x}).astype('float16')",
    "({x}).astype('float64')",
    "({x}).astype('>f4')",
    "({x}).astype(int)",
    "({x}).astype(bool)",
    "({x}).astype(complex)",
    "({x}).astype(object)",
    "({x}).astype(str)",
    "({x}).astype(np.longdouble)",
    "({x})[::-1]",
    "({x})[:, ::-1]",
    "({x})[::2]",
    "np.asfortranarray({x})",
    "({x})[:0]",
    "({x})[:1]",
    "({x})[:2]",
    "({x})[:, :0]",
    "({x})[:, :1]",
    "({x})[0]",
    "({x})[0, 0]",
    "({x})[None]",
    "({x}).T",
    "({x}).tolist()",
    "marked({x}, float('nan'))",
    "marked({x}, float('inf'))",
    "marked({x}, 1e300)",
    "marked(({x}).astype(object), None)",
    "marked(({x}).astype(object), 'a')",
    "({x}) * 0",
    "-np.abs({x})",
    "np.abs({x})",
    "({x}).astype(float) * 1e300",
    "({x}).astype(float) * 1e160",
    "({x}) * np.float32(1e30)",
    "({x}).astype(float) * 1e-160",
    "({x}).astype(float) * 1e-300",
    "({x}).astype(float) + 1e9",
    "torch.tensor({x})",
    "torch.tensor({x}).bfloat16()",
    "torch.tensor({x}).half()",
    "torch.tensor({x}).requires_grad_()",
    "torch.tensor({x}).to_sparse()",
    "torch.tensor({x}).to('meta')",
    "sp.csr_matrix({x})",
    "sp.coo_array({x})",
    "np.ma.masked_less({x}, 0)",
    "np.matrix({x})",
    "pd.DataFrame({x})",
    "pd.DataFrame({x}, columns=['x0', 'x1'])",
    "pd.DataFrame({x}, columns=['x1', 'x0'])",
    "pd.DataFrame({x}, columns=['a', 'a'])",
    "pd.DataFrame({x}).convert_dtypes()",
    "pd.DataFrame({x}).astype('Int64', errors='ignore')",
    "pd.DataFrame({x}).astype('category')",
    "pd.DataFrame({x}).iloc[:0]",
    "np.repeat(({x})[:1], 24, 0)",
    "memoryview(np.ascontiguousarray({x}))",
    "[list(row) for row in {x}]",
    "[[0.0, 1.0], [2.0]]",
)
COLUMNS = words(
    "day track state weight mass donor text one zero nan half inf huge tiny unix negative bool dates "
    "span nullable every complex"
)
ARRAYS = words(
    "X_pca X nan inf huge large tiny constant half whole bool complex sparse cube empty single words "
    "frame twice"
)
CELLS = words(
    "adata()[:0] adata()[:1] adata()[::-1] adata()[:24] adata().copy() adata()[:,:0] "
    "anndata.AnnData() anndata.AnnData(cells()) adata().X adata().obs adata().raw adata(1) adata(2)"
)
FILES = words(
    "model.safetensors runs.h5ad runs.nc runs.zarr cells.h5ad empty words.txt noise.h5ad folder nowhere "
    "nowhere/file.h5ad new.safetensors new.h5ad new.nc new.zarr new.txt new"
)


def scalar(rng):
    """A number, or what is none."""
    return rng.choice(NUMBERS if rng.random() < 0.6 else OTHERS)


def times(rng):
    return rng.choice(TIMES) if rng.random() < 0.8 else scalar(rng)


def array(rng, plain="cells(0)"):
    """An array in an odd form, or in two."""
    if rng.random() < 0.15:
        return scalar(rng)
    code = rng.choice(FORMS).format(x=plain)
    if rng.random() < 0.3:
        code = rng.choice(FORMS).format(x=code)
    return code


def arrays(rng):
    """A list of arrays of which one is odd."""
    if rng.random() < 0.15:
        return rng.choice((scalar(rng), times(rng), array(rng)))
    parts = ["cells(0)", "cells(1)"]
    parts[rng.randrange(2)] = array(rng)
    if rng.random() < 0.2:
        parts.append(array(rng))
    return f"[{', '.join(parts)}]"


def columns(rng):
    """A list with one array of numbers or labels for every time."""
    kinds = (
        "np.ones(24)",
        "np.arange(24)",
        "['a'] * 24",
        "[None] * 24",
        "np.zeros(24)",
        "-np.ones(24)",
        "np.ones(3)",
        "pd.Categorical(['a', 'b'] * 12)",
        "np.full(24, float('nan'))",
        "np.full(24, 1e300)",
        "np.full(24, 1e-300)",
        "np.ones((24, 1))",
        "np.ma.masked_less(np.arange(24), 3)",
        "pd.Series([True, None] * 12, dtype='boolean')",
        "marked(np.ones(24), float('inf'))",
        "np.ones(24, dtype=complex)",
    )
    if rng.random() < 0.2:
        return rng.choice((scalar(rng), times(rng)))
    return f"[{rng.choice(kinds)}, {rng.choice(kinds)}]"


def key(rng):
    """A key of an AnnData."""
    if rng.random() < 0.7:
        return repr(rng.choice(COLUMNS))
    return scalar(rng)


def representation(rng):
    return repr(rng.choice(ARRAYS)) if rng.random() < 0.8 else scalar(rng)


def cells(rng):
    """An AnnData, or what is none."""
    return rng.choice(CELLS) if rng.random() < 0.7 else rng.choice((scalar(rng), array(rng)))


def file(rng):
    if rng.random() < 0.7:
        return f"place({rng.choice(FILES)!r})"
    return scalar(rng)


def label_paths(rng):
    """Lists of one array per path."""
    kinds = (
        "np.array([0, 1, 2])",
        "['a', 'b', 'a']",
        "['a', None, 'a']",
        "np.array([-1, -1, -1])",
        "np.array([0, 1, 10**6])",
        "np.array([0, 1, -2])",
        "pd.Categorical(['a', 'b', None])",
        "np.array([True, False, True])",
        "[0.5, float('nan'), 1]",
        "[float('inf')] * 3",
        "np.zeros((3, 2, 2))",
        "np.zeros((3, 0))",
        "np.zeros(0)",
        "np.zeros(4)",
        "pd.array([0, None, 1], dtype='Int64')",
        "cells(0, 3)",
        "cells(0, 3) * 1e30",
        "torch.zeros(3, 2)",
        "torch.zeros(3, 2).bfloat16()",
        "cells(0, 3)[::-1]",
        "np.ma.masked_less(cells(0, 3), 0)",
        "pd.DataFrame(cells(0, 3), columns=['a', 'a'])",
        "sp.csr_matrix(cells(0, 3))",
        "1",
        "None",
    )
    if rng.random() < 0.15:
        return scalar(rng)
    if rng.random() < 0.3:
        return f"[{array(rng, 'cells(0, 3)')}, {array(rng, 'cells(1, 3)')}]"
    return f"[{rng.choice(kinds)}, {rng.choice(kinds)}]"


def path_times(rng):
    whole = ("[0, 1, 2]", "[0, 1]", "[0, 0, 1]", "[2, 1, 0]", "[0, float('nan'), 1]", "[]")
    whole += (
        "['a', 'b', 'c']",
        "[0, 1, 1e300]",
        "[0, 1, 1e-300]",
        "[-1, 0, 1]",
        "np.zeros((3, 1))",
    )
    whole += (
        "pd.to_timedelta([0, 1, 2], unit='D')",
        "[1.7e9, 1.7e9 + 1, 1.7e9 + 2]",
        "[0, 1, None]",
    )
    if rng.random() < 0.2:
        return times(rng)
    return f"[{rng.choice(whole)}, {rng.choice(whole)}]"


def word(rng):
    """A word of a command line."""
    kinds = (
        "''",
        "'-1'",
        "'nan'",
        "'inf'",
        "'a'",
        "'0'",
        "'1'",
        "'1e400'",
        "'0,1'",
        "'1,0'",
        "'--'",
    )
    kinds += ("'-'", "'x' * 400", "'a\\nb'", "'day'", "'state'", "'ActionMatching'", "'é'", "'1.5'")
    return rng.choice(kinds) if rng.random() < 0.6 else file(rng)


def table(rng):
    """A table of scores in an odd form, or what is none."""
    return odd_table(rng, rng.choice(("compared()", "scores()")))


# What is done to a table `T` and its column `C`; `V` is an odd value.
TABLE_FORMS = (
    "T.iloc[:0]",
    "T.iloc[:1]",
    "T.iloc[:, :1]",
    "T.iloc[::-1]",
    "T.drop(columns=C)",
    "T.assign(**{C: V})",
    "T.assign(**{C: float('nan')})",
    "T.assign(**{C: float('inf')})",
    "T.assign(**{C: 1})",
    "T.assign(**{C: 'a'})",
    "T.astype({C: 'category'})",
    "T.astype(str)",
    "T.T",
    "T.to_dict()",
    "pd.concat([T, T])",
    "pd.concat([T, T], axis=1)",
    "pd.DataFrame()",
)


def odd_table(rng, plain):
    """A table in an odd form, or what is none; ``plain`` is the code of a whole one."""
    if rng.random() < 0.2:
        return scalar(rng)
    # Tables of all kinds have a few columns.
    column = f"T.columns[{rng.randrange(8)} % T.shape[1]]"
    form = re.sub(r"\bC\b", column, rng.choice(TABLE_FORMS))
    form = re.sub(r"(?<!\.)\bT\b", plain, form)
    return re.sub(r"\bV\b", lambda _: scalar(rng), form)
