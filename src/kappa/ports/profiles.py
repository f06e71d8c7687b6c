"""How a job trades freshness for speed, and what a version's lag asks for. Pure: a plan and an engine go by the same.

A job has TaskManagers of its own, one per subtask, for each of them has one slot: a replay never shares one with a
live job.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from kappa.model.schema import ViewTable

ProfileName = Literal["live", "replay"]

# Records. A live job folds so many in seconds; one that is closer than the second limit has caught up.
REPLAY_LAG_MIN, LIVE_LAG_MAX = 500_000, 20_000


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """How a job works.

    Attributes:
        name: `live` or `replay`.
        parallelism: How many subtasks it has, and so TaskManagers.
        checkpoint_interval_s: From the start of a checkpoint to that of the next.
        buffer_timeout_ms: How long an event waits for others to be sent on with.
        bundle_records: How many events Python is given at once, at most.
        flush_interval_s: How long changes gather before they are committed: how old a row that readers see may be.
    """

    name: ProfileName
    parallelism: int
    checkpoint_interval_s: float
    buffer_timeout_ms: int
    bundle_records: int
    flush_interval_s: float


class Profiles(msgspec.Struct, frozen=True, kw_only=True):
    """The profiles of a project's jobs, as its settings have them.

    Attributes:
        live: While a version keeps up. A parallelism of 0 stands for the number of a version's partition groups.
        replay: While it is far behind.
        choice: `auto`: whichever the lag asks for. Otherwise that one for good.
    """

    live: Profile
    replay: Profile
    choice: Literal["auto", "live", "replay"] = "auto"

    def of(self, table: ViewTable) -> Profiles:
        """Return the profiles of one version's job: more subtasks than it has partitions would have nothing to do."""
        return msgspec.structs.replace(self, live=_sized(self.live, table), replay=_sized(self.replay, table))

    def ahead(self, lag: int) -> tuple[Profile, ...]:
        """Return what a job that starts so many records behind goes through, one after the other."""
        match self.choice:
            case "live":
                return (self.live,)
            case "replay":
                return (self.replay,)
            case "auto":
                return (self.replay, self.live) if lag > REPLAY_LAG_MIN else (self.live,)

    def chosen(self, running: ProfileName) -> Profile:
        """Return what a job should work by that was submitted as `running`."""
        name = running if self.choice == "auto" else self.choice
        return self.replay if name == "replay" else self.live


class Slots(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster has for a project.

    Attributes:
        total: Of all its TaskManagers.
        usable: Those that no job of another project holds.
        task_managers: How many there are.
    """

    total: int
    usable: int
    task_managers: int


def _sized(profile: Profile, table: ViewTable) -> Profile:
    parallelism = min(profile.parallelism or table.group_count, table.partition_count)
    return msgspec.structs.replace(profile, parallelism=parallelism)
