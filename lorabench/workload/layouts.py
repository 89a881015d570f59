"""Opening files of rows with a column map or without: the layouts that are known are recognised.

Known are raw Criteo lines; the same under a header, with another delimiter, or behind an id, as the
samples of most CTR libraries are; and Avazu's. Anything else is refused with the columns that were
found, and so is what has no label: it cannot be learned from. What is left out is said.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorabench.errors import InputError
from lorabench.workload.column_map import MISSING_MARKS, ColumnMap
from lorabench.workload.columns import ColumnsInput, listed, names_of
from lorabench.workload.criteo import COLUMNS, NUM_DENSE, NUM_SPARSE
from lorabench.workload.head import Head, read_head
from lorabench.workload.inputs import CriteoInput, Input

STDIN = Path("-")

_AVAZU = (
    *("C1", "banner_pos", "site_id", "site_domain", "site_category", "app_id", "app_domain"),
    *("app_category", "device_id", "device_ip", "device_model", "device_type", "device_conn_type"),
    *(f"C{i}" for i in range(14, 22)),
)
_LABELS = ("label", "click", "clicked", "target", "y")
INDEX_NAMES = ("", "id", "index", "unnamed: 0", "row_id", "rowid", "sample_id", "impression_id")
"""Of a row's own number, as pandas writes its index and others an id."""
# How the columns of Criteo's sets are called: I1 and C1, int_0 and cat_0, ...
_NAMED = re.compile(r"(i|int|integer|dense|c|cat|sparse|categorical)(?:_?feature)?_?(\d+)")
_DENSE_WORDS = ("i", "int", "integer", "dense")

_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{1,8}")
_NUMBER = re.compile(r"-?\d+(\.\d*)?")
_FLOAT = re.compile(r"-?\d+\.\d*")


@dataclass(frozen=True)
class Layout:
    """What a file was recognised as.

    Parameters
    ----------
    words : str
        For the user.
    columns : ColumnMap
        Which columns are what.
    left_out : tuple of str
        Columns that are not made use of.
    preset : str
        Whose tables and model go with it.
    """

    words: str
    columns: ColumnMap
    left_out: tuple[str, ...]
    preset: str


def open_rows(
    paths: Sequence[Path], columns: ColumnMap | None = None, *, ordered: bool = True
) -> Input:
    """Open files of rows, one after the other.

    Parameters
    ----------
    paths : sequence of Path
        Raw Criteo lines, CSV or Parquet, which shows from the bytes; ``-`` is raw lines on stdin.
    columns : ColumnMap, optional
        Which columns are what; without it the layout must be a known one.
    ordered : bool
        Refuse rows that are not in order of time, where they have any.

    Returns
    -------
    Input
        Its `notes` say what was recognised and left out, its `preset` what goes with it.

    Raises
    ------
    InputError
        A file that cannot be read, of no known layout, without labels, or without a column of the
        map.
    """
    if columns is None:
        return _recognised(tuple(paths), ordered=ordered)
    if STDIN in paths:
        raise InputError("-: found stdin beside --columns, expected files, which are looked at")
    notes: list[str] = []
    for path in paths:
        head = read_head(path, columns.delimiter)
        if head is not None:
            left_out = [name for name in names_of(head, columns) if name not in columns.names]
            notes += [_left_out(left_out)] if left_out and _left_out(left_out) not in notes else []
    return ColumnsInput(paths, columns, ordered=ordered, notes=tuple(notes))


def _recognised(paths: tuple[Path, ...], *, ordered: bool) -> Input:
    head = None if paths[0] == STDIN else read_head(paths[0])
    if head is None or _is_raw(head):
        return CriteoInput(paths)
    layout = recognise(head)
    if layout is None:
        raise unknown(head)
    notes = [f"{paths[0].name}: recognised as {layout.words}"]
    if layout.left_out:
        notes.append(_left_out(layout.left_out))
    return ColumnsInput(
        paths, layout.columns, ordered=ordered, notes=tuple(notes), preset=layout.preset
    )


def _left_out(names: Sequence[str]) -> str:
    quoted = [name or "the one without a name" for name in names]
    return f"columns left out: {listed(quoted)}"


def unknown(head: Head) -> InputError:
    """Return what is said of a file whose layout is not known."""
    return InputError(
        f"{head.path}: found the columns {listed(head.names)} ({head.words()}), expected Criteo's "
        "or Avazu's, or --columns MAP.toml, which says what they are: lorabench ingest "
        f"{shlex.quote(str(head.path))} --suggest-columns > map.toml writes one to start from"
    )


def recognise(head: Head) -> Layout | None:
    """Return the layout of a file; None where it is none of the known.

    Raises
    ------
    InputError
        A known one without its label.
    """
    return _avazu(head) or _criteo_by_name(head) or _criteo_by_place(head)


def _avazu(head: Head) -> Layout | None:
    names = set(head.names)
    if not head.header or not names >= {"hour", *_AVAZU}:
        return None
    if "click" not in names:
        raise _unlabelled(head, "Avazu's columns without click, as in the contest's test file")
    columns = ColumnMap(
        label="click",
        time="hour",
        time_format="%y%m%d%H",
        sparse=("hour", *_AVAZU),
        delimiter=head.delimiter or None,
    )
    left_out = tuple(name for name in head.names if name not in columns.names)
    return Layout(f"Avazu's rows ({head.words()})", columns, left_out, "avazu")


def _criteo_by_name(head: Head) -> Layout | None:
    if not head.header:
        return None
    families: dict[bool, dict[int, str]] = {True: {}, False: {}}
    others: list[str] = []
    for name in head.names:
        match = _NAMED.fullmatch(name.strip().lower())
        if match is None:
            others.append(name)
            continue
        family = families[match[1] in _DENSE_WORDS]
        if int(match[2]) in family:
            return None
        family[int(match[2])] = name
    dense, sparse = _in_order(families[True], NUM_DENSE), _in_order(families[False], NUM_SPARSE)
    if dense is None or sparse is None:
        return None
    labels = [name for name in others if name.strip().lower() in _LABELS]
    others = [name for name in others if name not in labels]
    if any(name.strip().lower() not in INDEX_NAMES for name in others):
        return None
    if len(labels) != 1:
        if labels:
            return None
        raise _unlabelled(head, "Criteo's columns without a label, as in the contest's test file")
    return _criteo(head, labels[0], dense, sparse, tuple(others))


def _in_order(family: dict[int, str], count: int) -> tuple[str, ...] | None:
    first = min(family, default=-1)
    if first not in (0, 1) or sorted(family) != list(range(first, first + count)):
        return None
    return tuple(family[number] for number in sorted(family))


def _criteo_by_place(head: Head) -> Layout | None:
    """Tell Criteo's columns in their order, with or without an id and a label before them."""
    before = len(head.names) - NUM_DENSE - NUM_SPARSE
    if head.header or before not in (0, 1, 2) or not _has_features(head, before):
        return None
    labels = [row[before - 1] for row in head.rows] if before else []
    if not labels or not set(labels) <= {"0", "1", "0.0", "1.0"}:
        raise _unlabelled(
            head,
            f"{len(head.names)} columns and no label, as in the contest's test file",
        )
    names = (*(("id",) if before == 2 else ()), *COLUMNS)
    found = replace(head, names=names)
    dense, sparse = names[before : before + NUM_DENSE], names[-NUM_SPARSE:]
    layout = _criteo(found, COLUMNS[0], dense, sparse, names[: before - 1])
    return replace(layout, columns=layout.columns.model_copy(update={"header": names}))


def _criteo(
    head: Head,
    label: str,
    dense: tuple[str, ...],
    sparse: tuple[str, ...],
    left_out: tuple[str, ...],
) -> Layout:
    values = {value for name in sparse for value in head.column(name)}
    raw = all(_HEXADECIMAL.fullmatch(value) or value in MISSING_MARKS for value in values)
    columns = ColumnMap(
        label=label,
        dense=dense,
        sparse=sparse,
        transform="log1p",
        ids="hex" if raw and head.form == "csv" else "text",
        delimiter=head.delimiter or None,
    )
    ids = "ids as in the raw lines" if columns.ids == "hex" else "ids by their text"
    return Layout(f"Criteo's rows ({head.words()}; {ids})", columns, left_out, "criteo-kaggle")


def _is_raw(head: Head) -> bool:
    """Whether these are raw Criteo lines, whose own reader names what is wrong with one."""
    if head.form != "csv" or head.delimiter != "\t" or head.header or head.encoding != "utf-8":
        return False
    if len(head.names) != len(COLUMNS):
        return False
    if any(map(_floats, zip(*(row[: 1 + NUM_DENSE] for row in head.rows), strict=True))):
        return False  # pandas' numbers of a column with missing values; the raw lines have none
    if any(value in MISSING_MARKS for row in head.rows for value in row):
        return False
    # As many columns has an id before features without a label.
    return not (_has_features(head, 1) and _numbered(head))


def _floats(column: tuple[str | None, ...]) -> bool:
    """Whether all values of a column are written with a point: one alone is a mistake in a line."""
    known = [value for value in column if value]
    return bool(known) and all(map(_FLOAT.fullmatch, known))


def _numbered(head: Head) -> bool:
    first = [row[0] for row in head.rows]
    return len(first) > 1 and len(set(first)) == len(first) > 2


def _has_features(head: Head, before: int) -> bool:
    """Whether Criteo's features follow so many columns: 13 numbers, 26 hexadecimal ids."""
    if not head.rows:
        return False
    fit = sum(
        _all_are(_NUMBER, row[before : before + NUM_DENSE])
        and _all_are(_HEXADECIMAL, row[-NUM_SPARSE:])
        for row in head.rows
    )
    return fit >= 0.8 * len(head.rows)


def _all_are(what: re.Pattern[str], values: Sequence[str | None]) -> bool:
    return all(v is None or v in MISSING_MARKS or what.fullmatch(v) for v in values)


def _unlabelled(head: Head, found: str) -> InputError:
    return InputError(
        f"{head.path}: found {found} ({head.words()}), expected a label in each row, as the "
        "contest's training file has: without one nothing can be learned or judged (a column map "
        "with labelled = false serves such rows all the same)"
    )
