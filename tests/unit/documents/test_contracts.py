"""Every command that reads documents keeps to the contract of commands."""

from typing import ClassVar

from command_contract import CommandContract

from lorabench.documents import COMMANDS, compare, export, report, show


class TestCompare(CommandContract):
    command = compare.COMMAND
    required: ClassVar = {"base": "base.json", "head": "head.json"}


class TestExport(CommandContract):
    command = export.COMMAND
    required: ClassVar = {"openmetrics": "-"}


class TestReport(CommandContract):
    command = report.COMMAND


class TestShow(CommandContract):
    command = show.COMMAND


def test_every_command_has_its_contract_tested() -> None:
    classes = [one for one in globals().values() if isinstance(one, type)]
    tested = {one.command.name for one in classes if "command" in vars(one)}
    assert tested == {command.name for command in COMMANDS}
