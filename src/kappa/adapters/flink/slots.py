"""Count the slots of a cluster that a project's jobs have or can get."""

from __future__ import annotations

from kappa.adapters.flink.job import job_name
from kappa.adapters.flink.rest import FlinkRest
from kappa.ports.profiles import Slots


def slots_for(project: str, rest: FlinkRest) -> Slots:
    """Return what the cluster has for a project's jobs, those at work included.

    Raises:
        StoreUnavailable: The cluster does not answer.
    """
    there = rest.capacity()
    others = [job for job in rest.jobs() if job.at_work and not job.name.startswith(job_name(project, ""))]
    held = sum(max(vertex.parallelism for vertex in rest.vertices(job.id)) for job in others)
    return Slots(total=there.slots, usable=there.slots - held, task_managers=there.task_managers)
