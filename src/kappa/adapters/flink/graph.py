"""Build the data flow of a job from its Java parts and the Python function, and hand it to the cluster.

Runs in Flink's client, which tells the cluster. The order of things: records in bundles, by partition; the fold over
RocksDB; commits to PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from pyflink.common import Configuration, Types
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.data_stream import _create_j_data_stream_python_function_info
from pyflink.fn_execution.flink_fn_execution_pb2 import UserDefinedDataStreamFunction
from pyflink.java_gateway import get_gateway
from pyflink.util.java_utils import get_j_env_configuration

from kappa.adapters.flink.fold import States
from kappa.adapters.flink.function import FoldFunction, Opened
from kappa.adapters.flink.job import PROFILE_PARAMETER, profile_text
from kappa.ports.profiles import Profile

# Fixed for the life of a state: it limits the parallelism, and decides with it which subtask has which partition.
MAX_PARALLELISM = 128
ALIGNMENT_TIMEOUT_S = 5
CHECKPOINT_TIMEOUT_S = 600


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is submitted with.

    Attributes:
        name: What the cluster calls it.
        profile: How it works.
        flush_records: How many events gather between two commits at most: rows in memory are bounded by it.
        state_url: Where checkpoints go; empty for what the cluster's settings say.
        options: Of the Java parts, without those of the profile; texts by name.
    """

    name: str
    profile: Profile
    flush_records: int
    state_url: str
    options: Mapping[str, str]


def submit(plan: JobPlan, open_fold: Callable[[States], Opened]) -> None:
    """Submit a job; the cluster runs it from then on.

    `open_fold` has to be a function that a TaskManager can import.
    """
    environment = StreamExecutionEnvironment.get_execution_environment(_configuration(plan))
    profile = plan.profile
    environment.set_parallelism(profile.parallelism)
    environment.set_max_parallelism(MAX_PARALLELISM)
    environment.get_config().set_global_job_parameters({PROFILE_PARAMETER: profile_text(profile)})
    options = {
        **plan.options,
        "maxParallelism": MAX_PARALLELISM,
        "bundleRecords": profile.bundle_records,
        "bundleBytes": 1024 * 1024,
        "lingerMs": profile.buffer_timeout_ms,
        "flushMs": round(profile.flush_interval_s * 1_000),
        "flushRecords": plan.flush_records,
    }
    jvm = get_gateway().jvm
    given = jvm.java.util.HashMap()
    for name, value in options.items():
        given.put(name, str(value))
    bundles = jvm.kappa.flink.Pipeline.bundles(environment._j_stream_execution_environment, given)  # noqa: SLF001
    commits = jvm.kappa.flink.Pipeline.fold(
        bundles,
        get_j_env_configuration(bundles.getExecutionEnvironment()),
        _create_j_data_stream_python_function_info(
            FoldFunction(open_fold), UserDefinedDataStreamFunction.KEYED_PROCESS
        ),
        bundles.getTransformation().getOutputType(),
        Types.PRIMITIVE_ARRAY(Types.BYTE()).get_java_type_info(),
        given,
    )
    jvm.kappa.flink.Pipeline.commit(commits, given)
    environment.execute_async(plan.name)


def _configuration(plan: JobPlan) -> Configuration:
    interval_ms = round(plan.profile.checkpoint_interval_s * 1_000)
    settings = {
        "python.execution-mode": "thread",
        "state.backend.type": "rocksdb",
        # A bundle is larger than a buffer, so only its end waits.
        "execution.buffer-timeout.interval": f"{plan.profile.buffer_timeout_ms} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.interval": f"{interval_ms} ms",
        # However long one takes, as much time is left for work.
        "execution.checkpointing.min-pause": f"{interval_ms // 2} ms",
        "execution.checkpointing.timeout": f"{CHECKPOINT_TIMEOUT_S} s",
        # A store of checkpoints that is away costs repeated work, if anything dies meanwhile; it stops nothing.
        "execution.checkpointing.tolerable-failed-checkpoints": "1000000",
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.unaligned.enabled": "true",
        "execution.checkpointing.aligned-checkpoint-timeout": f"{ALIGNMENT_TIMEOUT_S} s",
        # For whoever cancels it by hand. `VersionJob.stop` deletes those of a job that is not wanted any more.
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "30 s",
    }
    if plan.state_url:
        settings["execution.checkpointing.dir"] = f"{plan.state_url.rstrip('/')}/checkpoints"
    configuration = Configuration()
    for name, value in settings.items():
        configuration.set_string(name, value)
    return configuration
