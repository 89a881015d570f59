"""Entry of a node's child processes: one server, the trainer, or a load generator.

Started by the parent (`lorabench.targets.node.launch`) with the descriptors that it may map, and
told what to do by messages (`lorabench.targets.node.messages`) over a socket whose other end only
the parent holds. It dies with its parent, whatever kills that: by the kernel's signal first of all,
and by the socket's end if that signal should be missed. Heavy imports come after that promise is
made. An exception is sent to the parent as text.
"""

import traceback
from multiprocessing.connection import Connection

from lorabench.errors import told
from lorabench.isolation.lifetime import die_with_parent
from lorabench.isolation.undoing import leave_to_parent
from lorabench.targets.node.messages import (
    Failed,
    LoadGeneratorSetup,
    ServerSetup,
    TrainerSetup,
)


def main(arguments: list[str]) -> None:
    """Run one worker to its end."""
    descriptor, parent = map(int, arguments)
    die_with_parent(parent)
    leave_to_parent()
    link = Connection(descriptor)
    try:
        _become(link.recv(), link)
    except (EOFError, ConnectionError):
        return  # the parent hung up: nothing is left to do
    except Exception as error:  # noqa: BLE001 - the parent is to show it, whatever it was
        known = told(error)
        said = traceback.format_exc() if known is None else str(known)
        link.send(Failed(said, actionable=known is not None))


def _become(setup: ServerSetup | TrainerSetup | LoadGeneratorSetup, link: Connection) -> None:
    match setup:
        case ServerSetup():
            from lorabench.targets.node.server import run_server

            run_server(setup, link)
        case TrainerSetup():
            if setup.memory_nodes is not None:
                from lorabench.isolation.numa import bind_process

                # Threads that libraries start inherit it, so it comes before they are imported.
                bind_process(setup.memory_nodes)
            from lorabench.targets.node.trainer import run_trainer

            run_trainer(setup, link)
        case LoadGeneratorSetup():
            from lorabench.targets.node.load_generator import run_load_generator

            run_load_generator(setup, link)
