"""Writing given blocks as a store, for tests of what reads stores."""

from collections.abc import Iterable
from pathlib import Path

from lorabench.workload.block import Block
from lorabench.workload.manifest import Format, Manifest, Provenance, part_name
from lorabench.workload.parts import Unfinished
from lorabench.workload.spec import WorkloadSpec
from lorabench.workload.store import write_rows


def write_store(
    folder: Path,
    parts: Iterable[Iterable[Block]],
    spec: WorkloadSpec,
    *,
    kind: Provenance = "generated",
    form: Format = "arrow",
) -> Manifest:
    with Unfinished(folder, {"spec": spec.name}) as unfinished:
        for number, blocks in enumerate(parts):
            unfinished.part(
                part_name(number, form),
                lambda path, blocks=blocks: write_rows(path, blocks, spec, form),
                lambda _side: None,
            )
        manifest = Manifest(
            kind=kind,
            origin="a test",
            format=form,
            seed=None,
            rows=sum(done.part.rows for done in unfinished.done),
            parts=tuple(done.part for done in unfinished.done),
            spec=spec,
        )
        unfinished.finish(manifest.as_text())
    return manifest
