"""Commands that read result documents and measure nothing: a folder each, none imports another.

Documents are all they need: what a number is worth was written down where it was measured.
"""

from lorabench.bench.command import Command
from lorabench.documents.compare import COMMAND as COMPARE
from lorabench.documents.export import COMMAND as EXPORT
from lorabench.documents.report import COMMAND as REPORT
from lorabench.documents.show import COMMAND as SHOW

COMMANDS: tuple[Command, ...] = (COMPARE, EXPORT, REPORT, SHOW)
