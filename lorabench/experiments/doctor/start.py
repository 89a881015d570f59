"""``lorabench doctor`` examines, as every command runs, or cleans up and is done."""

from lorabench.bench.command import Command, Output
from lorabench.bench.options import check
from lorabench.bench.runner import run
from lorabench.errors import InputError, MachineError
from lorabench.experiments.doctor.options import DoctorOptions, DoctorOutput


def start(command: Command, options: DoctorOptions, output: DoctorOutput) -> None:
    """Run the command.

    Raises
    ------
    InputError
        Cleaning up has no document to write or to print.
    MachineError
        Something that a killed run left cannot be undone.
    """
    if not options.cleanup:
        run(command, options, Output(**vars(output)))
        return
    check(options)
    for option, given in (("--json", output.as_json), ("-o", output.output)):
        if given:
            raise InputError(f"{option}: found it beside --cleanup, expected one or the other")
    _clean_up()


def _clean_up() -> None:
    from lorabench.isolation.cleanup import cleanup

    report = cleanup()
    for line in (*report.undone, *report.notes):
        print(line)  # noqa: T201
    if report.failed:
        raise MachineError(
            f"could not undo what {report.run} had changed: {'; '.join(report.failed)}; "
            "run lorabench doctor --cleanup as a user who may undo it"
        )
    if report.undone:
        print(f"undid what {report.run} had changed")  # noqa: T201
    elif report.notes:
        print(f"nothing else was left of what {report.run} had changed")  # noqa: T201
    else:
        print("there was nothing to undo")  # noqa: T201
