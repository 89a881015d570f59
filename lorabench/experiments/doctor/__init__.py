"""What a machine offers for isolation and for measuring."""

from lorabench.bench.command import Command
from lorabench.experiments.doctor.options import DoctorOptions, DoctorOutput

COMMAND = Command(
    "doctor",
    "Show what this machine offers for isolation and measuring, why not, and how to enable it.",
    DoctorOptions,
    experiment="lorabench.experiments.doctor.run:Doctor",
    view="lorabench.experiments.doctor.view:render",
    about="Changes and measures nothing; a document is written only where -o names it.",
    example="lorabench doctor -o doctor.json",
    always_saved=False,
    output=DoctorOutput,
    start="lorabench.experiments.doctor.start:start",
)
