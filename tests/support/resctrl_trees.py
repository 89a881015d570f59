"""Trees of resctrl as plain files: what the double of two machines shows, without a mount."""

from pathlib import Path

from resctrl_double import Bandwidth, Cache, Caller, File, Kernel, Machine, Monitoring

FULL = Machine(
    caches=(
        Cache(
            domains=(0, 1, 2, 3),
            ways=20,
            shareable_bits=0xC0000,
            size_bytes=57671680,
        ),
    ),
    bandwidth=Bandwidth(domains=(0, 1, 2, 3), num_closids=8),
    monitoring=Monitoring(domains=(0, 1, 2, 3)),
    cpus=192,
    padded=False,
)
L2_AND_L3 = Machine(
    caches=(
        Cache(ways=20, num_closids=15, shareable_bits=0xC0001, cdp_capable=True),
        Cache("L2", domains=tuple(range(40)), ways=16, num_closids=8),
    ),
    bandwidth=Bandwidth(num_closids=15),
)


def make(kernel: Kernel, *names: str) -> None:
    """Make groups."""
    for name in names:
        kernel.mkdir(tuple(name.split("/")), Caller.me())


def files(tree, above: str = "") -> dict[str, File]:
    """List a tree's files by their paths."""
    found = {}
    for name, node in tree.items():
        found |= files(node, f"{above}{name}/") if isinstance(node, dict) else {above + name: node}
    return found


def write_tree(machine: Machine, root: Path, *groups: str) -> Path:
    """Write what a machine's double shows, with groups in it, under `root`, which is returned."""
    kernel = Kernel(machine)
    make(kernel, *groups)
    for name, file in files(kernel.tree()).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.read())
    return root
