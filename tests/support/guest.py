"""Boot a Linux of its own in an emulator: another machine than this one, with three NUMA nodes.

QEMU emulates in software (no privilege, no KVM), the kernel is Debian's, and the root file system
is this machine's, shared read-only over 9p, so that the guest runs this very interpreter and this
very build. `make test-numa` brings what it needs. Behaviour is tested on it and never speed.
"""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lorabench
from lorabench import _kernels
from lorabench._kernels import dispatch

FOLDER = Path(sys.prefix) / "lorabench-guest"
"""Where the Makefile puts kernel, modules and busybox."""

# In the order in which they need each other.
_MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"),
    *("netfs", "fscache", "9pnet", "9pnet_virtio", "9p"),
)

# Two sockets of two cores and 1 GiB each, and a node of memory alone that is nearer to the second.
MACHINE = (
    "-machine q35 -cpu max -accel tcg,thread=multi -smp 4,sockets=2,cores=2,threads=1 -m 2560M "
    "-object memory-backend-ram,id=m0,size=1G "
    "-object memory-backend-ram,id=m1,size=1G "
    "-object memory-backend-ram,id=m2,size=512M "
    "-numa node,nodeid=0,cpus=0-1,memdev=m0 "
    "-numa node,nodeid=1,cpus=2-3,memdev=m1 "
    "-numa node,nodeid=2,memdev=m2 "
    "-numa dist,src=0,dst=1,val=21 -numa dist,src=0,dst=2,val=31 -numa dist,src=1,dst=2,val=17"
)

_INIT = """\
#!/bin/busybox sh
bb=/bin/busybox
for module in {modules}; do $bb insmod /modules/$module.ko || $bb poweroff -f; done
share="trans=virtio,version=9p2000.L,msize=512000"
$bb mount -t 9p -o ro,cache=loose,$share root /root || $bb poweroff -f
$bb mount -t proc proc /root/proc
$bb mount -t sysfs sys /root/sys
$bb mount -t devtmpfs dev /root/dev
$bb mount -t tmpfs tmp /root/run
$bb mkdir /root/run/out
$bb mount -t 9p -o $share out /root/run/out || $bb poweroff -f
{programs}
$bb poweroff -f
"""

_PROGRAM = """\
$bb chroot /root {command} >/root/run/out/{name}.stdout 2>/root/run/out/{name}.stderr
echo $? >/root/run/out/{name}.exit
"""


@dataclass(frozen=True)
class Ran:
    """What a program did in the guest."""

    exit_code: int | None
    stdout: str
    stderr: str
    console: str


def missing() -> str | None:
    """Say what of the emulator is not there; None where it can run."""
    if os.uname().machine != "x86_64":
        return f"the guest is an x86-64 machine and this is {os.uname().machine}"
    if shutil.which("qemu-system-x86_64") is None:
        return "there is no qemu-system-x86_64: make test-packages installs it, as root"
    if shutil.which("setpriv") is None:
        return "there is no setpriv: it is part of util-linux"
    if not (FOLDER / "vmlinuz").is_file():
        return f"there is no kernel in {FOLDER}: make guest fetches it"
    return None


def run(programs: Sequence[Path], folder: Path, *, timeout_s: float) -> dict[str, Ran]:
    """Boot, run Python programs as root one after the other, switch off.

    Only `/run` is writable there. What they print to stdout and stderr comes back, by their names.
    """
    out = folder / "out"
    out.mkdir()
    skip = os.environ.get("MESONPY_EDITABLE_SKIP", Path(dispatch.__file__).parent)
    command = " ".join(
        [
            "/usr/bin/env",
            f"PYTHONPATH={_site(folder)}",
            f"MESONPY_EDITABLE_SKIP={skip}",
            "PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 TMPDIR=/run",
            sys.executable,
        ]
    )
    calls = [_PROGRAM.format(command=f"{command} {path}", name=path.stem) for path in programs]
    found = {path.stem: path for path in (FOLDER / "modules").rglob("*.ko")}
    # What is not there is part of another module, or of the kernel.
    modules = [name for name in _MODULES if name in found]
    files = {f"modules/{name}.ko": found[name] for name in modules}
    init = folder / "init"
    init.write_text(_INIT.format(modules=" ".join(modules), programs="".join(calls)))
    initramfs = folder / "initramfs"
    initramfs.write_bytes(cpio({"init": init, "bin/busybox": FOLDER / "busybox"} | files, ["root"]))
    console = folder / "console"
    arguments = [
        "setpriv", "--pdeathsig", "KILL",  # not even a SIGKILL of the tests leaves it behind
        "qemu-system-x86_64", *MACHINE.split(), "-nodefaults", "-no-user-config", "-no-reboot",
        "-display", "none", "-serial", f"file:{console}",
        "-kernel", str(FOLDER / "vmlinuz"), "-initrd", str(initramfs),
        "-append", "console=ttyS0 panic=-1 quiet",
        "-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
        "-virtfs", f"local,path={out},mount_tag=out,security_model=none",
    ]  # fmt: skip
    machine = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        said, _ = machine.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        said = f"it did not end within {timeout_s:.0f} s".encode()
    finally:
        machine.kill()
        machine.wait()

    def text(path: Path) -> str:
        return path.read_text(errors="replace") if path.exists() else ""

    def ran(name: str) -> Ran:
        code = text(out / f"{name}.exit")
        return Ran(
            int(code) if code else None,
            text(out / f"{name}.stdout"),
            text(out / f"{name}.stderr"),
            said.decode(errors="replace") + text(console),
        )

    return {path.stem: ran(path.stem) for path in programs}


def _site(folder: Path) -> Path:
    """Lay out lorabench as it is imported here, for an interpreter that cannot rebuild it.

    An editable install looks for changed sources when it is imported, and its package has parts in
    the checkout and in the build folder.
    """
    package = folder / "site/lorabench"
    kernels = package / "_kernels"
    kernels.mkdir(parents=True)
    for entry in Path(lorabench.__file__).parent.iterdir():
        if entry.name != kernels.name:
            (package / entry.name).symlink_to(entry)
    (kernels / "__init__.py").symlink_to(Path(_kernels.__file__))
    for extension in Path(dispatch.__file__).parent.glob("*.so"):
        (kernels / extension.name).symlink_to(extension)
    return package.parent


def cpio(files: dict[str, Path], folders: list[str]) -> bytes:
    """Pack files into an archive that the kernel unpacks as its first root (cpio, newc)."""
    parents = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in sorted(parents | set(folders))]
    entries += [(name, stat.S_IFREG | 0o755, path.read_bytes()) for name, path in files.items()]
    entries.append(("TRAILER!!!", 0, b""))
    packed = bytearray()
    for number, (name, mode, content) in enumerate(entries, start=1):
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        packed += b"070701" + "".join(f"{field:08x}" for field in fields).encode()
        packed += name.encode() + b"\0"
        packed += bytes(-len(packed) % 4) + content
        packed += bytes(-len(packed) % 4)
    return bytes(packed)
