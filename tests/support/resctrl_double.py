"""A double of the kernel's resctrl file system, on FUSE: its files, its rules, its errors.

For machines without RDT, which most are. `Kernel` holds the state and decides as the kernel does
(fs/resctrl/rdtgroup.c, ctrlmondata.c and Documentation/filesystems/resctrl.rst of Linux 6.18), with
its errnos and its words in info/last_cmd_status; `mounted` runs it as a process of its own behind a
mount, and takes that down again whatever happens. It partitions nothing: behaviour is tested with
it, never a latency.

It differs from the kernel in what it cannot know or need not: a new thread does not inherit its
maker's group but starts in the root group (stricter), groups cannot become pseudo-locked (regions
that are can be planted), and its counters count time and tasks, not bytes.
"""

import contextlib
import ctypes.util
import dataclasses
import errno
import importlib.util
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGE = 4096  # kernfs takes no longer write at once
NO_LIMIT = 0xFFFFFFFF
# Made-up traffic of a task, bytes/s in each domain; half of it local.
TRAFFIC = 1 << 30


@dataclass(frozen=True)
class Cache:
    """A cache with ways to divide."""

    name: str = "L3"
    domains: tuple[int, ...] = (0, 1)
    num_closids: int = 16  # of the hardware; code and data apart take two each
    ways: int = 12
    min_cbm_bits: int = 1
    shareable_bits: int = 0
    sparse_masks: bool = False
    size_bytes: int = 24 << 20
    cdp_capable: bool = False
    cdp: bool = False
    pseudo_locked: tuple[tuple[int, int], ...] = ()  # domain, mask


@dataclass(frozen=True)
class Bandwidth:
    """Memory bandwidth to throttle."""

    name: str = "MB"
    domains: tuple[int, ...] = (0, 1)
    num_closids: int = 8
    bandwidth_gran: int = 10
    min_bandwidth: int = 10
    maximum: int = 100
    delay_linear: bool = True
    thread_throttle_mode: str = "max"
    mba_mbps: bool = False


@dataclass(frozen=True)
class Monitoring:
    """Counters of the L3."""

    domains: tuple[int, ...] = (0, 1)
    num_rmids: int = 192
    features: tuple[str, ...] = ("llc_occupancy", "mbm_total_bytes", "mbm_local_bytes")
    max_threshold_occupancy: int = 98304
    # What a counter says instead of a number: domain, feature, word.
    broken: tuple[tuple[int, str, str], ...] = ()
    # Sub-NUMA clusters: the nodes of each domain, in the order of the domains.
    nodes: tuple[tuple[int, ...], ...] = ()
    # AMD's counters of traffic, each assigned to a group and an event (mode mbm_event): how many a
    # domain has, 0 without; and whether a new group gets some.
    counters: int = 0
    on_mkdir: bool = True

    @property
    def assignable(self) -> tuple[str, ...]:
        return tuple(f for f in self.features if f.startswith("mbm_")) if self.counters else ()


@dataclass(frozen=True)
class Machine:
    """What the double offers."""

    caches: tuple[Cache, ...] = (Cache(),)
    bandwidth: Bandwidth | None = Bandwidth()
    monitoring: Monitoring | None = Monitoring()
    cpus: int = 64
    padded: bool = True  # values printed as wide as the widest, as kernels before 6.16 do

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Machine":
        found = json.loads(text)

        def part(kind: Callable[..., Any], values: dict[str, Any]) -> Any:
            tuples = {
                name: tuple(tuple(v) if isinstance(v, list) else v for v in value)
                for name, value in values.items()
                if isinstance(value, list)
            }
            return kind(**values | tuples)

        return cls(
            caches=tuple(part(Cache, values) for values in found["caches"]),
            bandwidth=found["bandwidth"] and part(Bandwidth, found["bandwidth"]),
            monitoring=found["monitoring"] and part(Monitoring, found["monitoring"]),
            cpus=found["cpus"],
            padded=found["padded"],
        )


@dataclass(frozen=True)
class Caller:
    """Who calls: the thread, and as whom it acts."""

    tid: int
    uid: int
    gid: int

    @classmethod
    def me(cls) -> "Caller":
        return cls(os.getpid(), os.geteuid(), os.getegid())


@dataclass
class File:
    read: Callable[[], str]
    write: Callable[[str, Caller], None] | None = None


Tree = dict[str, "File | Tree"]


@dataclass(frozen=True)
class Schema:
    """A line of schemata files: a resource, or the code or data half of one."""

    name: str
    resource: Cache | Bandwidth
    num_closids: int

    @property
    def peer(self) -> str:
        """The other half of a cache with code and data apart; itself otherwise."""
        swap = {"CODE": "DATA", "DATA": "CODE"}
        return self.name[:-4] + swap[self.name[-4:]] if self.name[-4:] in swap else self.name


@dataclass(eq=False)
class Group:
    name: str
    closid: int
    parent: "Group | None" = None  # of a monitoring group
    mode: str = "shareable"
    tasks: dict[int, int] = field(default_factory=dict)  # thread id -> its start time
    cpus: set[int] = field(default_factory=set)
    values: dict[tuple[str, int], int] = field(default_factory=dict)
    monitors: "dict[str, Group]" = field(default_factory=dict)
    event: str = "mbm_local_bytes"
    counted: float = 0.0  # task-seconds
    counted_at: float = field(default_factory=time.monotonic)
    assigned: set[tuple[str, int]] = field(default_factory=set)  # event, domain


def fail(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def start_time(tid: int) -> int | None:
    """When a thread started, in ticks since boot; None where there is none."""
    try:
        text = Path(f"/proc/{tid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text.rpartition(")")[2].split()[19])


def live_threads() -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [int(thread.name) for thread in (process / "task").iterdir()]
    return sorted(found)


def kstrto(text: str, base: int) -> int | None:
    """The kernel's kstrtoul: None where that fails."""
    digits = {10: "[0-9]+", 16: "(?:0[xX])?[0-9a-fA-F]+"}[base]
    return int(text, base) if re.fullmatch(f"[+]?{digits}", text) else None


class Kernel:
    """The file system's state and rules, without a mount."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.status = ""
        # The kernel puts each resource in front of those before it.
        self.schemas: list[Schema] = []
        for cache in machine.caches:
            if cache.cdp:
                for half in "CODE", "DATA":
                    name = cache.name + half
                    self.schemas.insert(0, Schema(name, cache, cache.num_closids // 2))
            else:
                self.schemas.insert(0, Schema(cache.name, cache, cache.num_closids))
        if machine.bandwidth:
            bandwidth = machine.bandwidth
            self.schemas.insert(0, Schema(bandwidth.name, bandwidth, bandwidth.num_closids))
        self.num_closids = min((s.num_closids for s in self.schemas), default=1)
        self.root = Group("", 0, cpus=set(range(machine.cpus)))
        for schema in self.schemas:
            for domain in schema.resource.domains:
                self.root.values[schema.name, domain] = self._default(schema)
        self.groups: dict[str, Group] = {}
        self._assign_all(self.root)
        self.owners: dict[tuple[str, ...], tuple[int, int]] = {}

    # --- what it is made of

    def tree(self) -> Tree:
        top = self._group_files(self.root)
        top["info"] = self._info()
        for group in self.groups.values():
            top[group.name] = self._group_files(group)
        return top

    def node(self, path: tuple[str, ...]) -> File | Tree:
        found: File | Tree = self.tree()
        for name in path:
            if not isinstance(found, dict) or name not in found:
                raise fail(errno.ENOENT)
            found = found[name]
        return found

    def owner(self, path: tuple[str, ...]) -> tuple[int, int]:
        for known in (path, path[:-1]):
            if known in self.owners and (known == path or len(path) > 1):
                return self.owners[known]
        return os.geteuid(), os.getegid()

    def _info(self) -> Tree:
        info: Tree = {"last_cmd_status": File(lambda: self.status or "ok\n")}
        for schema in self.schemas:
            resource = schema.resource
            values: dict[str, Any] = {"num_closids": schema.num_closids}
            if isinstance(resource, Cache):
                values |= {
                    "cbm_mask": f"{(1 << resource.ways) - 1:x}",
                    "min_cbm_bits": resource.min_cbm_bits,
                    "shareable_bits": f"{resource.shareable_bits:x}",
                    "sparse_masks": int(resource.sparse_masks),
                }
            else:
                values |= {
                    "bandwidth_gran": resource.bandwidth_gran,
                    "min_bandwidth": resource.min_bandwidth,
                    "delay_linear": int(resource.delay_linear),
                    "thread_throttle_mode": resource.thread_throttle_mode,
                }
            folder: Tree = {n: File(lambda v=v: f"{v}\n") for n, v in values.items()}
            if isinstance(resource, Cache):
                folder["bit_usage"] = File(lambda s=schema: f"{self._bit_usage(s)}\n")
            info[schema.name] = folder
        if monitoring := self.machine.monitoring:
            features = "".join(f"{feature}\n" for feature in monitoring.features)
            info["L3_MON"] = {
                "num_rmids": File(lambda: f"{monitoring.num_rmids}\n"),
                "mon_features": File(lambda: features),
                "max_threshold_occupancy": File(lambda: f"{monitoring.max_threshold_occupancy}\n"),
            }
            if monitoring.counters:
                info["L3_MON"] |= self._assignment_info(monitoring)
        return info

    def _assignment_info(self, monitoring: Monitoring) -> Tree:
        def listed(number: Callable[[int], int]) -> str:
            return ";".join(f"{d}={number(d)}" for d in monitoring.domains) + "\n"

        return {
            "mbm_assign_mode": File(lambda: "[mbm_event]\ndefault\n"),
            "mbm_assign_on_mkdir": File(lambda: f"{int(monitoring.on_mkdir)}\n"),
            "num_mbm_cntrs": File(lambda: listed(lambda _: monitoring.counters)),
            "available_mbm_cntrs": File(lambda: listed(self._free_counters)),
            "event_configs": {
                event: {"event_filter": File(lambda: "local_reads,remote_reads\n")}
                for event in monitoring.assignable
            },
        }

    def _everybody(self) -> list[Group]:
        controls = [self.root, *self.groups.values()]
        return controls + [monitor for group in controls for monitor in group.monitors.values()]

    def _free_counters(self, domain: int) -> int:
        assert self.machine.monitoring
        taken = sum(where == domain for group in self._everybody() for _, where in group.assigned)
        return self.machine.monitoring.counters - taken

    def _assign_all(self, group: Group) -> None:
        """Assign counters to a new group, as many as there are."""
        monitoring = self.machine.monitoring
        if monitoring is None or not (monitoring.on_mkdir or group is self.root):
            return
        for event in monitoring.assignable:
            for domain in monitoring.domains:
                if self._free_counters(domain) > 0:
                    group.assigned.add((event, domain))

    def _assignments(self, group: Group) -> str:
        monitoring = self.machine.monitoring
        assert monitoring

        def state(event: str, domain: int) -> str:
            return f"{domain}={'e' if (event, domain) in group.assigned else '_'}"

        return "".join(
            f"{event}:{';'.join(state(event, domain) for domain in monitoring.domains)}\n"
            for event in monitoring.assignable
        )

    def _write_assignments(self, group: Group, text: str) -> None:
        monitoring = self.machine.monitoring
        assert monitoring
        self.status = ""
        for line in text.splitlines():
            event, _, states = line.partition(":")
            if event not in monitoring.assignable:
                self._refuse(f"Invalid event {event}")
            for part in states.split(";"):
                where, _, state = part.partition("=")
                domains = monitoring.domains if where == "*" else (kstrto(where, 10),)
                if state not in ("e", "_") or not set(domains) <= set(monitoring.domains):
                    self._refuse(f"Invalid assignment {part}")
                for domain in domains:
                    assert domain is not None
                    if state == "_":
                        group.assigned.discard((event, domain))
                    elif (event, domain) not in group.assigned:
                        if self._free_counters(domain) < 1:
                            self.status += f"Out of counters for {event} in domain {domain}\n"
                            raise fail(errno.ENOSPC)
                        group.assigned.add((event, domain))

    def _group_files(self, group: Group) -> Tree:
        files: Tree = {
            "cpus": File(lambda: self._mask(group.cpus), self._cpus_writer(group, is_list=False)),
            "cpus_list": File(
                lambda: self._list(group.cpus), self._cpus_writer(group, is_list=True)
            ),
            "tasks": File(
                lambda: "".join(f"{tid}\n" for tid in self.members(group)),
                lambda text, caller: self._write_tasks(group, text, caller),
            ),
        }
        if group.parent is None and self.schemas:
            files |= {
                "schemata": File(
                    lambda: self._show(group), lambda text, _: self._write_schemata(group, text)
                ),
                "mode": File(lambda: f"{group.mode}\n", lambda text, _: self._mode(group, text)),
                "size": File(lambda: self._size(group)),
            }
        if self._mbps and group.parent is None:
            files["mba_MBps_event"] = File(
                lambda: f"{group.event}\n", lambda text, _: self._write_event(group, text)
            )
        if self.machine.monitoring:
            files["mon_data"] = self._mon_data(group)
            if self.machine.monitoring.counters:
                files["mbm_L3_assignments"] = File(
                    lambda: self._assignments(group),
                    lambda text, _: self._write_assignments(group, text),
                )
            if group.parent is None:
                files["mon_groups"] = {
                    name: self._group_files(monitor) for name, monitor in group.monitors.items()
                }
        return files

    def _mon_data(self, group: Group) -> Tree:
        monitoring = self.machine.monitoring
        assert monitoring
        folders: Tree = {}
        for place, domain in enumerate(monitoring.domains):
            folder = self._counters(group, domain)
            nodes = monitoring.nodes[place] if monitoring.nodes else ()
            for node in nodes:
                folder[f"mon_sub_L3_{node:02d}"] = self._counters(group, domain, len(nodes))
            folders[f"mon_L3_{domain:02d}"] = folder
        return folders

    def _counters(self, group: Group, domain: int, parts: int = 1) -> Tree:
        """Files of a domain's counters, or of one of so many nodes that share it."""
        assert self.machine.monitoring

        def shown(feature: str) -> str:
            said = self._counter(group, domain, feature)
            return f"{int(said) // parts}\n" if said.strip().isdecimal() else said

        return {
            feature: File(lambda f=feature: shown(f))
            for feature in self.machine.monitoring.features
        }

    # --- groups

    def mkdir(self, path: tuple[str, ...], caller: Caller) -> None:
        *above, name = path
        with contextlib.suppress(FileNotFoundError):
            self.node(path)
            raise fail(errno.EEXIST)
        self.node(tuple(above))
        if "\n" in name:
            raise fail(errno.EINVAL)
        if above[:1] == ["info"]:
            raise fail(errno.ENODEV)
        self.status = ""
        if not above and self.schemas:
            self.groups[name] = made = self._new_control_group(name)
            self._assign_all(made)
        else:
            parent = self._monitors_of(above)
            if parent is None or not self.machine.monitoring or name == "mon_groups":
                raise fail(errno.EPERM)
            self._take_rmid()
            parent.monitors[name] = made = Group(name, parent.closid, parent)
            self._assign_all(made)
        self.owners[path] = caller.uid, caller.gid

    def rmdir(self, path: tuple[str, ...]) -> None:
        *above, name = path
        if isinstance(self.node(path), File):
            raise fail(errno.ENOTDIR)
        if not above and name in self.groups:
            group = self.groups.pop(name)
            self.root.cpus |= group.cpus
        elif (parent := self._monitors_of(above)) and name in parent.monitors:
            del parent.monitors[name]
        else:
            raise fail(errno.EPERM)
        # Its tasks are nobody's now, which is to say the root group's, or its parent's.
        self.owners = {p: o for p, o in self.owners.items() if p[: len(path)] != path}

    def _new_control_group(self, name: str) -> Group:
        taken = {0} | {group.closid for group in self.groups.values()}
        free = set(range(self.num_closids)) - taken
        if not free:
            self.status += "Out of CLOSIDs\n"
            raise fail(errno.ENOSPC)
        self._take_rmid()
        group = Group(name, min(free))
        for schema in self.schemas:
            for domain in schema.resource.domains:
                group.values[schema.name, domain] = (
                    self._initial_mask(schema, schema.resource, domain)
                    if isinstance(schema.resource, Cache)
                    else self._default(schema)
                )
        return group

    def _take_rmid(self) -> None:
        if self.machine.monitoring:
            controls = [self.root, *self.groups.values()]
            used = len(controls) + sum(len(group.monitors) for group in controls)
            if used >= self.machine.monitoring.num_rmids:
                self.status += "Out of RMIDs\n"
                raise fail(errno.ENOSPC)

    def _initial_mask(self, schema: Schema, cache: Cache, domain: int) -> int:
        """All that is unused or shareable; of that, the lowest bits side by side."""
        used = shared = cache.shareable_bits
        for group in (self.root, *self.groups.values()):
            held = group.values[schema.name, domain] | group.values[schema.peer, domain]
            used |= held
            if group.mode == "shareable":
                shared |= held
        used |= dict(cache.pseudo_locked).get(domain, 0)
        mask = shared | ~used & ((1 << cache.ways) - 1)
        mask &= ~(mask + (mask & -mask))
        if mask.bit_count() < cache.min_cbm_bits:
            self.status += f"No space on {schema.name}:{domain}\n"
            raise fail(errno.ENOSPC)
        return mask

    def _monitors_of(self, above: list[str]) -> Group | None:
        """Whose monitoring groups lie in this folder."""
        if above == ["mon_groups"]:
            return self.root
        if len(above) == 2 and above[1] == "mon_groups":
            return self.groups.get(above[0])
        return None

    # --- tasks and CPUs

    def members(self, group: Group) -> list[int]:
        """Threads of a group that live, those of its monitoring groups included."""
        if group is self.root:
            elsewhere = {tid for other in self.groups.values() for tid in self.members(other)}
            return [tid for tid in live_threads() if tid not in elsewhere]
        group.tasks = {t: began for t, began in group.tasks.items() if start_time(t) == began}
        return sorted(group.tasks)

    def _write_tasks(self, group: Group, text: str, caller: Caller) -> None:
        self.status = ""
        for word in text.partition("\n")[0].split(","):
            number = re.fullmatch("-?[0-9]+", word.strip())
            if number is None:
                self.status += f"Task list parsing error pid {word.strip()}\n"
                raise fail(errno.EINVAL)
            tid = int(number[0])
            if tid < 0:
                self.status += f"Invalid pid {tid}\n"
                raise fail(errno.EINVAL)
            try:
                self._move(group, tid or caller.tid, caller)
            except OSError:
                self.status += f"Error while processing task {tid}\n"
                raise

    def _move(self, group: Group, tid: int, caller: Caller) -> None:
        began = start_time(tid)
        if began is None:
            self.status += f"No task {tid}\n"
            raise fail(errno.ESRCH)
        found = re.search(r"^Uid:\s+(\d+)\s+\d+\s+(\d+)", self._status_of(tid), re.MULTILINE)
        owners = {int(found[1]), int(found[2])} if found else set()
        if caller.uid not in {0} | owners:
            self.status += f"No permission to move task {tid}\n"
            raise fail(errno.EPERM)
        if group.parent is not None and tid not in self.members(group.parent):
            self.status += "Can't move task to different control group\n"
            raise fail(errno.EINVAL)
        control = group.parent or group
        for other in self.groups.values():
            if other is not control:
                other.tasks.pop(tid, None)
        for other in (self.root, *self.groups.values()):
            for monitor in other.monitors.values():
                monitor.tasks.pop(tid, None)
        if control is not self.root:
            control.tasks[tid] = began
        group.tasks[tid] = began

    @staticmethod
    def _status_of(tid: int) -> str:
        try:
            return Path(f"/proc/{tid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return ""

    def _cpus_writer(self, group: Group, is_list: bool) -> Callable[[str, Caller], None]:
        def write(text: str, _: Caller) -> None:
            self.status = ""
            try:
                cpus = self._parse_cpus(text.strip(), is_list)
            except ValueError:
                self.status += "Bad CPU list/mask\n"
                raise fail(errno.EINVAL) from None
            if not cpus <= set(range(self.machine.cpus)):
                self.status += "Can only assign online CPUs\n"
                raise fail(errno.EINVAL)
            if group.parent is not None:
                if not cpus <= group.parent.cpus:
                    self.status += "Can only add CPUs to mongroup that belong to parent\n"
                    raise fail(errno.EINVAL)
            elif group is self.root and group.cpus - cpus:
                self.status += "Can't drop CPUs from default group\n"
                raise fail(errno.EINVAL)
            else:
                self.root.cpus |= group.cpus
                for other in (self.root, *self.groups.values()):
                    other.cpus -= cpus
            group.cpus = cpus

        return write

    @staticmethod
    def _parse_cpus(text: str, is_list: bool) -> set[int]:
        if not is_list:
            mask = int(text.replace(",", ""), 16)
            return {cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1}
        cpus: set[int] = set()
        for part in text.split(",") if text else ():
            low, _, high = part.partition("-")
            cpus.update(range(int(low), int(high or low) + 1))
        return cpus

    def _mask(self, cpus: set[int]) -> str:
        mask = sum(1 << cpu for cpu in cpus)
        words = range((self.machine.cpus + 31) // 32 - 1, -1, -1)
        return ",".join(f"{mask >> 32 * word & 0xFFFFFFFF:08x}" for word in words) + "\n"

    @staticmethod
    def _list(cpus: set[int]) -> str:
        spans: list[list[int]] = []
        for cpu in sorted(cpus):
            if spans and spans[-1][-1] == cpu - 1:
                spans[-1][1:] = [cpu]
            else:
                spans.append([cpu])
        return ",".join("-".join(map(str, span)) for span in spans) + "\n"

    # --- schemata

    @property
    def _mbps(self) -> bool:
        return self.machine.bandwidth is not None and self.machine.bandwidth.mba_mbps

    def _default(self, schema: Schema) -> int:
        resource = schema.resource
        if isinstance(resource, Cache):
            return (1 << resource.ways) - 1
        return NO_LIMIT if resource.mba_mbps else resource.maximum

    def _name_width(self) -> int:
        # Room for CODE and DATA, whether mounted so or not, keeps tables the same.
        return max(
            len(schema.name)
            + 4
            * (isinstance(schema.resource, Cache) and schema.resource.cdp_capable)
            * (not getattr(schema.resource, "cdp", False))
            for schema in self.schemas
        )

    def _show(self, group: Group) -> str:
        width = 0
        if self.machine.padded:
            width = max(
                (schema.resource.ways + 3) // 4
                if isinstance(schema.resource, Cache)
                else len(str(schema.resource.maximum))
                for schema in self.schemas
            )
        lines = []
        for schema in self.schemas:
            form = f"0{width}x" if isinstance(schema.resource, Cache) else f"{width}d"
            pairs = (
                f"{domain}={group.values[schema.name, domain]:{form if width else form[-1]}}"
                for domain in schema.resource.domains
            )
            lines.append(f"{schema.name:>{self._name_width()}}:{';'.join(pairs)}\n")
        return "".join(lines)

    def _size(self, group: Group) -> str:
        lines = []
        for schema in self.schemas:
            resource = schema.resource
            pairs = []
            for domain in resource.domains:
                size = group.values[schema.name, domain]
                if isinstance(resource, Cache):
                    size = resource.size_bytes // resource.ways * size.bit_count()
                pairs.append(f"{domain}={size}")
            lines.append(f"{schema.name:>{self._name_width()}}:{';'.join(pairs)}\n")
        return "".join(lines)

    def _write_schemata(self, group: Group, text: str) -> None:
        if not text.endswith("\n"):
            raise fail(errno.EINVAL)
        self.status = ""
        staged: dict[tuple[str, int], int] = {}
        for line in text[:-1].split("\n"):
            name, colon, rest = line.partition(":")
            name = name.strip()
            if not colon:
                self._refuse("Missing ':'")
            if not rest:
                self._refuse(f"Missing '{name}' value")
            schema = next((s for s in self.schemas if s.name == name), None)
            if schema is None:
                self._refuse(f"Unknown or unsupported resource name '{name}'")
            self._parse_line(group, schema, rest, staged)
        group.values |= staged

    def _refuse(self, words: str) -> Any:
        self.status += words + "\n"
        raise fail(errno.EINVAL)

    def _parse_line(
        self, group: Group, schema: Schema, rest: str, staged: dict[tuple[str, int], int]
    ) -> None:
        for part in rest.split(";"):
            if not part:  # the kernel stops at the first empty one
                return
            number, equals, value = part.partition("=")
            domain = kstrto(number, 10)
            if not equals or domain is None:
                self._refuse("Missing '=' or non-numeric domain")
            if domain not in schema.resource.domains:
                raise fail(errno.EINVAL)  # and says nothing
            if (schema.name, domain) in staged:
                self._refuse(f"Duplicate domain {domain}")
            if isinstance(schema.resource, Cache):
                mask = self._valid_mask(group, schema, schema.resource, domain, value.strip())
                staged[schema.name, domain] = mask
            else:
                bandwidth = self._valid_bandwidth(schema.resource, value.strip())
                if schema.resource.mba_mbps:
                    group.values[schema.name, domain] = bandwidth  # at once, as the kernel does
                else:
                    staged[schema.name, domain] = bandwidth

    def _valid_bandwidth(self, resource: Bandwidth, text: str) -> int:
        value = kstrto(text, 10)
        if value is None or value > NO_LIMIT:
            self._refuse(f"Invalid MB value {text}")
        if resource.mba_mbps:
            return value
        if not resource.min_bandwidth <= value <= resource.maximum:
            limits = f"[{resource.min_bandwidth},{resource.maximum}]"
            self._refuse(f"MB value {value} out of range {limits}")
        return -(-value // resource.bandwidth_gran) * resource.bandwidth_gran

    def _valid_mask(
        self, group: Group, schema: Schema, cache: Cache, domain: int, text: str
    ) -> int:
        mask = kstrto(text, 16)
        if mask is None:
            self._refuse(f"Non-hex character in the mask {text}")
        if (cache.min_cbm_bits > 0 and mask == 0) or mask >> cache.ways:
            self._refuse("Mask out of range")
        run = mask & ~(mask + (mask & -mask))
        if not cache.sparse_masks and mask != run:
            self._refuse(f"The mask {mask:x} has non-consecutive 1-bits")
        if run.bit_count() < cache.min_cbm_bits:
            self._refuse(f"Need at least {cache.min_cbm_bits} bits in the mask")
        if mask & dict(cache.pseudo_locked).get(domain, 0):
            self._refuse("CBM overlaps with pseudo-locked region")
        if self._overlaps(group, schema, domain, mask, exclusive=True):
            self._refuse("Overlaps with exclusive group")
        if group.mode == "exclusive" and self._overlaps(
            group, schema, domain, mask, exclusive=False
        ):
            self._refuse("Overlaps with other group")
        return mask

    def _overlaps(
        self, group: Group, schema: Schema, domain: int, mask: int, *, exclusive: bool
    ) -> bool:
        """Whether a mask shares bits: with exclusive groups, or with any and with hardware."""
        if not exclusive and mask & schema.resource.shareable_bits:
            return True
        return any(
            mask & other.values[name, domain]
            for other in (self.root, *self.groups.values())
            if other is not group and (not exclusive or other.mode == "exclusive")
            for name in {schema.name, schema.peer}
        )

    def _mode(self, group: Group, text: str) -> None:
        if not text.endswith("\n"):
            raise fail(errno.EINVAL)
        self.status = ""
        wanted = text[:-1]
        if wanted not in {"shareable", "exclusive"}:
            self._refuse("Unknown or unsupported mode")
        if wanted == "exclusive" and group.mode != "exclusive":
            caches = [s for s in self.schemas if isinstance(s.resource, Cache)]
            for schema in caches:
                assert isinstance(schema.resource, Cache)
                for domain in schema.resource.domains:
                    mask = group.values[schema.name, domain]
                    if self._overlaps(group, schema, domain, mask, exclusive=False):
                        self._refuse("Schemata overlaps")
            if not caches:
                self._refuse("Cannot be exclusive without CAT/CDP")
        group.mode = wanted

    def _bit_usage(self, schema: Schema) -> str:
        cache = schema.resource
        assert isinstance(cache, Cache)
        shown = []
        for domain in cache.domains:
            soft = exclusive = 0
            for group in (self.root, *self.groups.values()):
                if group.mode == "exclusive":
                    exclusive |= group.values[schema.name, domain]
                else:
                    soft |= group.values[schema.name, domain]
            locked = dict(cache.pseudo_locked).get(domain, 0)
            letters = ""
            for bit in range(cache.ways - 1, -1, -1):
                hard = cache.shareable_bits >> bit & 1
                if soft >> bit & 1:
                    letters += "X" if hard else "S"
                elif hard:
                    letters += "H"
                else:
                    letters += "E" if exclusive >> bit & 1 else "P" if locked >> bit & 1 else "0"
            shown.append(f"{domain}={letters}")
        return ";".join(shown)

    # --- counters

    def _write_event(self, group: Group, text: str) -> None:
        self.status = ""
        assert self.machine.monitoring
        if not text.endswith("\n") or text[:-1] not in self.machine.monitoring.features[1:]:
            self._refuse(f"Unsupported event id '{text.strip()}'")
        group.event = text[:-1]

    def _counter(self, group: Group, domain: int, feature: str) -> str:
        assert self.machine.monitoring
        for where, which, word in self.machine.monitoring.broken:
            if (where, which) == (domain, feature):
                return f"{word}\n"
        monitoring = self.machine.monitoring
        if feature in monitoring.assignable and (feature, domain) not in group.assigned:
            return "Unassigned\n"
        now = time.monotonic()
        tasks = len(self.members(group))
        group.counted += (now - group.counted_at) * tasks
        group.counted_at = now
        moved = int(group.counted * TRAFFIC)
        if feature == "mbm_total_bytes":
            return f"{moved}\n"
        if feature == "mbm_local_bytes":
            return f"{moved // 2}\n"
        # The cache fills with what is moved, up to the ways that the group may use.
        room = 0
        for schema in self.schemas:
            cache = schema.resource
            if isinstance(cache, Cache) and cache.name == "L3":
                values = (group.parent or group).values
                share = values.get((schema.name, domain), 0).bit_count()
                room = max(room, cache.size_bytes // cache.ways * share)
        return f"{min(moved, room)}\n"


def serve(machine: Machine, folder: Path) -> None:
    """Mount the double on a folder and serve it until it is unmounted or stdin ends."""
    # libfuse 2 names the option otherwise that keeps file sizes from mattering.
    os.environ["FUSE_LIBRARY_NAME"] = "fuse3"
    import mfusepy

    def end_with_stdin() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)  # libfuse unmounts and returns

    threading.Thread(target=end_with_stdin, daemon=True).start()
    kernel = Kernel(machine)
    me = os.geteuid()

    def parts(path: str) -> tuple[str, ...]:
        return tuple(part for part in path.split("/") if part)

    class Mount(mfusepy.Operations):
        use_ns = True

        def __init__(self) -> None:
            self.open_files: dict[int, bytes] = {}
            self.next_handle = 1

        @mfusepy.overrides(mfusepy.Operations)
        def init_with_config(self, conn_info: Any, config_3: Any) -> None:
            sys.stdout.write("ready\n")
            sys.stdout.flush()

        @mfusepy.overrides(mfusepy.Operations)
        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            node = kernel.node(parts(path))
            if isinstance(node, dict):
                mode, links = stat.S_IFDIR | 0o755, 2
            else:
                mode, links = stat.S_IFREG | (0o644 if node.write else 0o444), 1
            uid, gid = kernel.owner(parts(path))
            return {"st_mode": mode, "st_nlink": links, "st_uid": uid, "st_gid": gid, "st_size": 0}

        @mfusepy.overrides(mfusepy.Operations)
        def readdir(self, path: str, fh: int) -> list[str]:
            node = kernel.node(parts(path))
            if not isinstance(node, dict):
                raise fail(errno.ENOTDIR)
            return [".", "..", *node]

        @mfusepy.overrides(mfusepy.Operations)
        def open(self, path: str, flags: int) -> int:
            kernel.node(parts(path))
            self.next_handle += 1
            return self.next_handle

        @mfusepy.overrides(mfusepy.Operations)
        def release(self, path: str, fh: int) -> int:
            self.open_files.pop(fh, None)
            return 0

        @mfusepy.overrides(mfusepy.Operations)
        def create(self, path: str, mode: int, fi: Any = None) -> int:
            raise fail(errno.EACCES)

        @mfusepy.overrides(mfusepy.Operations)
        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            if offset == 0 or fh not in self.open_files:
                node = kernel.node(parts(path))
                assert isinstance(node, File)
                self.open_files[fh] = node.read().encode()
            return self.open_files[fh][offset : offset + size]

        @mfusepy.overrides(mfusepy.Operations)
        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            node = kernel.node(parts(path))
            assert isinstance(node, File)
            if node.write is None:
                raise fail(errno.EINVAL)
            if len(data) > PAGE:
                raise fail(errno.E2BIG)
            uid, gid, tid = mfusepy.fuse_get_context()
            node.write(data.decode(), Caller(tid, uid, gid))
            return len(data)

        @mfusepy.overrides(mfusepy.Operations)
        def truncate(self, path: str, length: int, fh: int | None = None) -> int:
            return 0

        @mfusepy.overrides(mfusepy.Operations)
        def mkdir(self, path: str, mode: int) -> int:
            uid, gid, tid = mfusepy.fuse_get_context()
            kernel.mkdir(parts(path), Caller(tid, uid, gid))
            return 0

        @mfusepy.overrides(mfusepy.Operations)
        def rmdir(self, path: str) -> int:
            kernel.rmdir(parts(path))
            return 0

        @mfusepy.overrides(mfusepy.Operations)
        def unlink(self, path: str) -> int:
            raise fail(errno.EPERM)

        @mfusepy.overrides(mfusepy.Operations)
        def chown(self, path: str, uid: int, gid: int) -> int:
            old = kernel.owner(parts(path))
            kernel.owners[parts(path)] = (
                uid if 0 <= uid < NO_LIMIT else old[0],
                gid if 0 <= gid < NO_LIMIT else old[1],
            )
            return 0

    # fusermount3 stays behind for auto_unmount: no mount outlives this process, killed or not.
    mfusepy.FUSE(
        Mount(),
        str(folder),
        foreground=True,
        nothreads=True,
        fsname="resctrl-double",
        auto_unmount=True,
        default_permissions=True,
        direct_io=True,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
        **({"allow_other": True} if me == 0 else {}),
    )


def missing() -> str | None:
    """Say what this machine lacks for a mount of the double; None if nothing."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "there is no /dev/fuse that this user may open: as root, modprobe fuse"
    if importlib.util.find_spec("mfusepy") is None:
        return "mfusepy is not installed: make install"
    if shutil.which("fusermount3") is None or ctypes.util.find_library("fuse3") is None:
        return "libfuse 3 or fusermount3 is not installed: as root, make test-packages"
    return None


@contextlib.contextmanager
def mounted(machine: Machine, folder: Path) -> Iterator[Path]:
    """Run the double on a folder.

    Raises
    ------
    RuntimeError
        It cannot be mounted; the message is what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, __file__, machine.to_json(), str(folder)],
        stdin=subprocess.PIPE,  # which ends with this process, and the double with it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"resctrl double: {process.communicate()[1].strip()}")
        yield folder
    finally:
        # Lazily, so that a file which a failed test left open cannot hold the mount.
        subprocess.run(["fusermount3", "-u", "-z", "-q", folder], check=False)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            stream.close()


if __name__ == "__main__":
    serve(Machine.from_json(sys.argv[1]), Path(sys.argv[2]))
