"""What a strategy is deployed on: the model it keeps fresh, and what there is to do that with."""

from dataclasses import dataclass, field, replace

from lorabench.model.full import TrainedModel
from lorabench.updates.cluster import TrainerKind, TrainingCluster
from lorabench.updates.link import Link, Scale, Sync


@dataclass(frozen=True)
class Pushes:
    """When updates are sent, and what sending them takes.

    Parameters
    ----------
    sync : Sync
        What a push takes.
    interval_s : float
        From the beginning of a push to that of the next, s of the stream's time; a push starts
        later where the last has not ended. 0 is at once.
    full_every : int
        Every so many pushes one sends all that is outstanding, by those that usually send a part.
    at_window_ends : bool
        A push begins where a window of the replay ends, and at no other time.
    """

    sync: Sync
    interval_s: float
    full_every: int = 36
    at_window_ends: bool = False


@dataclass(eq=False)
class Progress:
    """How far a replay has come.

    Attributes
    ----------
    windows_ended : int
        Windows that are over.
    """

    windows_ended: int = 0


@dataclass(eq=False)
class Deployment:
    """A model and its surroundings, shared by all strategies of a replay.

    Parameters
    ----------
    model : TrainedModel
        The pre-trained one: no strategy changes its tables or accumulators.
    memory_budget : float
        What a strategy may add at the serving side, as a share of the table bytes.
    pushes : Pushes, optional
        How updates come from a training cluster; by default at once and for nothing.

    Attributes
    ----------
    clusters : list of TrainingCluster
        That strategies have asked for.
    progress : Progress
        How far the replay has come; whoever replays writes it down.
    """

    model: TrainedModel
    memory_budget: float
    pushes: Pushes | None = None
    progress: Progress = field(default_factory=Progress, repr=False)
    _clusters: dict[tuple[TrainerKind, float, float], TrainingCluster] = field(
        default_factory=dict, repr=False
    )

    @property
    def clusters(self) -> list[TrainingCluster]:
        """Those that strategies have asked for, each once."""
        return list(self._clusters.values())

    @property
    def when(self) -> Pushes:
        """How updates come."""
        if self.pushes is not None:
            return self.pushes
        size = self.model.tables.layout.table_bytes
        return Pushes(Sync(Link(float("inf")), Scale(size, size)), 0.0)

    def cluster(self, kind: TrainerKind, learning_rate: float, decay: float) -> TrainingCluster:
        """Return the training cluster that trains so; there is one of each.

        Raises
        ------
        InputError
            Its tables do not fit into memory.
        """
        key = kind, learning_rate, decay
        if key not in self._clusters:
            self._clusters[key] = TrainingCluster(self.model, *key)
        return self._clusters[key]

    def varied(
        self, pushes: Pushes | None = None, memory_budget: float | None = None
    ) -> "Deployment":
        """Return one with other pushes or another budget; clusters and progress are the same.

        Whoever closes this one closes those.
        """
        budget = self.memory_budget if memory_budget is None else memory_budget
        return replace(self, pushes=pushes or self.pushes, memory_budget=budget)

    def close(self) -> None:
        """Let go of the clusters."""
        while self._clusters:
            _, cluster = self._clusters.popitem()
            cluster.close()
