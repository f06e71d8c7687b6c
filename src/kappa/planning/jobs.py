"""Say how the jobs of new versions will work, and whether the cluster has room for them. Pure.

An engine decides by the same `Profiles` when it submits a job, by the lag and the settings of that time: a job is also
submitted again months later, and settings may change under it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from kappa.model.schema import ViewTable
from kappa.planning.estimates import LogFacts
from kappa.ports.profiles import Profile, Profiles, Slots
from kappa.ports.versions import Deployment


class JobFacts(msgspec.Struct, frozen=True):
    """What a plan has to know where versions are jobs.

    Attributes:
        profiles: As the settings have them.
        slots: What the cluster has now; None if it does not answer.
    """

    profiles: Profiles
    slots: Slots | None


def profiles_ahead(deployment: Deployment, log: LogFacts | None, jobs: JobFacts) -> tuple[Profile, ...]:
    """Return what the job of a new version goes through: one with a seed begins close to the log's end."""
    lag = log.events if log is not None and deployment.seed is None else 0
    return jobs.profiles.of(deployment.table).ahead(lag)


def slot_warnings(
    jobs: JobFacts, *, ahead: Mapping[str, Sequence[Profile]], running: Sequence[ViewTable]
) -> Iterator[str]:
    """Yield what keeps new jobs from working, or from working alone, and what to do about it.

    Args:
        jobs: What is known.
        ahead: View -> what the job of its new version goes through.
        running: The tables of the versions that run beside them.
    """
    slots = jobs.slots
    if slots is None:
        yield (
            "the Flink cluster does not answer, so it is not known whether it has slots enough: see whether its "
            "JobManager runs, and check flink.rest_url"
        )
        return
    if slots.total > slots.task_managers:
        yield (
            "there are TaskManagers with more than one slot, so a replay may share one with a live job: set "
            "taskmanager.numberOfTaskSlots to 1 in the cluster's config.yaml"
        )
    needed = sum(jobs.profiles.of(table).live.parallelism for table in running)
    needed += sum(max(profile.parallelism for profile in each) for each in ahead.values())
    if missing := max(0, needed - slots.usable):
        yield (
            f"all jobs together need {needed} slots, and the Flink cluster has {slots.usable} for them: unless it "
            f"starts TaskManagers by itself, a job waits for its slots. Start {missing} more, here with kappa stack up "
            f"--taskmanagers {slots.total + missing}, or set a smaller parallelism in [flink.replay] or [flink.live]"
        )


def describe_profile(profile: Profile) -> str:
    """Return a profile for people.

    >>> describe_profile(Profile(name="replay", parallelism=2, checkpoint_interval_s=30.0, buffer_timeout_ms=200,
    ...                          bundle_records=1_000, flush_interval_s=5.0))
    'replay profile: 2 TaskManagers, checkpoints every 30 s, bundles of 1,000 events or 200 ms, commits every 5 s'
    """
    return (
        f"{profile.name} profile: {profile.parallelism} TaskManager{'s' if profile.parallelism > 1 else ''}, "
        f"checkpoints every {profile.checkpoint_interval_s:g} s, bundles of {profile.bundle_records:,} events or "
        f"{profile.buffer_timeout_ms} ms, commits every {profile.flush_interval_s:g} s"
    )
