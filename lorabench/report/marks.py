"""Which plainer marks stand for those that an encoding lacks: the only place that decides it.

A terminal that is set to ISO-8859-1 or ASCII cannot show an arrow or a check mark. A mark is
replaced where, and only where, the encoding at hand lacks it. A letter never is, since a path would
then be another one: it is shown by its number, as a byte of a name that is no text is. Light, for
`lorabench --help`: nothing of Rich's here, whose pages are `lorabench.report.terminal`'s.
"""

import codecs
from collections.abc import Callable, Mapping

HANDLER = "lorabench.marks"
"""The error handler of streams that does the same to what was not laid out (`codecs`)."""

PLAIN: Mapping[str, str] = {
    "…": "...",
    "→": "->",
    "←": "<-",
    "±": "+/-",
    "µ": "u",
    "\N{GREEK SMALL LETTER MU}": "u",
    "Δ": "d",
    "·": "-",
    "•": "*",
    "\N{MULTIPLICATION SIGN}": "x",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "√": "sqrt ",
    "∞": "inf",
    "²": "^2",
    "³": "^3",
    "°": "deg",
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "--",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "“": '"',
    "”": '"',
    "\N{NO-BREAK SPACE}": " ",
    "\N{NARROW NO-BREAK SPACE}": " ",
    "\N{REPLACEMENT CHARACTER}": "?",
    "✓": "+",
    "✗": "x",
    # What a machine has: all, some of it, nothing.
    "●": "+",
    "◐": "~",
    "○": "-",
    # Bars of a spectrum, each with more ink than the one before.
    "▁": ".",
    "▂": ":",
    "▃": "-",
    "▄": "=",
    "▅": "+",
    "▆": "*",
    "▇": "%",
    "█": "#",
}
"""By mark; those that are wider than it change the layout, and so come before that."""

_CROSSINGS = {chr(code): "+" for code in range(0x2500, 0x2580)}
_RULES = dict.fromkeys("─━┄┅┈┉╌╍═╴╶╸╺╼╾", "-")
_COLUMNS = dict.fromkeys("│┃┆┇┊┋╎╏║╵╷╹╻╽╿", "|")
# What Rich draws once all is laid out: as wide as what it stands for.
_DRAWN = {"…": "~"} | _CROSSINGS | _RULES | _COLUMNS


def has(encoding: str, text: str) -> bool:
    """Whether an encoding has all of a text; one that Python does not know has ASCII alone."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    except LookupError:
        return text.isascii()
    return True


def plain(text: str, encoding: str) -> str:
    """Return a text that an encoding has, before it is laid out.

    Parameters
    ----------
    text : str
        Any.
    encoding : str
        As of a stream.

    Examples
    --------
    >>> plain("3 µs ± 1", "ascii"), plain("3 µs → 1", "latin-1")
    ('3 us +/- 1', '3 µs -> 1')
    """
    return _replaced(text, encoding, _mark)


def drawn(text: str, encoding: str) -> str:
    """Return what was laid out as it was, mark for mark of the same width where there is one."""
    return _replaced(text, encoding, lambda mark: _DRAWN.get(mark) or _mark(mark))


def _replaced(text: str, encoding: str, by: Callable[[str], str]) -> str:
    if has(encoding, text):
        return text
    return "".join(mark if has(encoding, mark) else by(mark) for mark in text)


def _mark(mark: str) -> str:
    return PLAIN.get(mark) or _DRAWN.get(mark) or _number(mark)


def _number(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file's name that is no text (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return letter.encode("ascii", "backslashreplace").decode()


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_mark, error.object[error.start : error.end])), error.end


codecs.register_error(HANDLER, _replace)
