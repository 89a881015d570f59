"""Drift as a workload has it, made faster or slower, or all but one kind of it left out."""

from lorabench.errors import InputError
from lorabench.workload.spec import WorkloadSpec, validated

KINDS = ("trades", "newcomers", "row_taste", "shared_taste")
"""Speeds of `lorabench.workload.spec.PhaseSpec`."""


def with_drift(spec: WorkloadSpec, strength: float = 1.0, kind: str | None = None) -> WorkloadSpec:
    """Return a spec whose drift is as strong as that, and of that kind alone.

    Parameters
    ----------
    spec : WorkloadSpec
        It is returned as it is where nothing changes.
    strength : float
        What all speeds are multiplied by, at least 0.
    kind : str, optional
        Of `KINDS`, words joined by a dash; all others stop, and the daily taste.

    Raises
    ------
    InputError
        The workload has no drift, or none of that kind, or it would be too fast.
    """
    if strength == 1 and kind is None:
        return spec
    content = spec.model_dump()
    drift = content["drift"]
    phases = drift["phase"]
    kept = KINDS if kind is None else (kind.replace("-", "_"),)
    if not any(phase[name] for phase in phases for name in kept):
        option, what = ("--drift-strength", "drift") if kind is None else ("--drift-kind", kind)
        raise InputError(
            f"{option}: found {spec.name}, which has no {what}, expected a workload that has"
        )
    for phase in phases:
        for name in KINDS:
            phase[name] = phase[name] * strength if name in kept else 0.0
    if kind is not None:
        drift["day_taste"] = 0.0
    return validated(content, f"{spec.name} with its drift times {strength:g}")
