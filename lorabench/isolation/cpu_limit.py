"""What a limit on CPU time leaves a trainer beside the servers, in figures and in sentences.

The part of the plan that decides about CPU time; pure, like the rest of it
(`lorabench.isolation.plan`). Each server may need a whole CPU for a while, whatever it needs on
average: what it lacks then is a tail of its latency. So the trainer gets what is left beside a
whole CPU a server.
"""

import math

from lorabench.isolation.core_reasons import plural

# What a trainer gets of its time where a limit leaves it nothing.
_LEAST_SHARE = 0.05


def trainer_share(
    cpu_limit: float, cores: int, servers: int, trainer: int
) -> tuple[float, tuple[str, ...]]:
    """Return the share of the time that the trainer may work, and why.

    Parameters
    ----------
    cpu_limit : float
        CPUs that control groups allow, fewer than the cores.
    cores : int
        Usable physical cores.
    servers, trainer : int
        How many of them each side has.

    Returns
    -------
    float
        Above 0 and at most 1.
    tuple of str
        A sentence for each choice, and what a cpuset would do instead.
    """
    left = (cpu_limit - servers) / trainer
    share = min(1.0, max(_LEAST_SHARE, left))
    beside = f"a whole CPU for each of {servers} servers" if servers > 1 else "a CPU for the server"
    reasons = [
        f"a CPU quota of the control groups allows {cpu_limit:.4g} CPUs, less than the {cores} "
        "physical cores"
    ]
    if servers + trainer < cores:
        reasons.append(f"so {servers + trainer} of these are used, and the others stay idle")
    if left < _LEAST_SHARE:
        reasons.append(
            f"that leaves the trainer nothing beside {beside}: it works for {share:.0%} of its "
            f"time, and the kernel may stop server{plural(servers)} and trainer"
        )
    elif share < 1.0:
        reasons.append(
            f"the trainer works for {share:.0%} of its time: what the quota leaves beside {beside}"
        )
    whole = max(servers + trainer, math.ceil(cpu_limit))
    reasons.append(
        f"a cpuset of {whole} whole CPUs in place of the quota would have nobody stopped"
        + ("" if share == 1.0 else ", and let the trainer work all the time")
    )
    return share, tuple(reasons)
