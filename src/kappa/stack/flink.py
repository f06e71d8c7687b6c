"""The description of a Flink cluster: a JobManager, and TaskManagers of one slot, for jobs in PyFlink's thread mode.

Each is started as a JVM with sizes given here, not by Flink's scripts: they start two more JVMs only to compute the
sizes. A JobManager that dies forgets its jobs, for there is no high availability here; what they have stored stays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from kappa.stack import s3
from kappa.stack.asking import ask_http
from kappa.stack.part import HOST, FlinkSoftware, Part, Site

NAME = "jobmanager"
CLUSTER = "flink"  # what the cluster as a whole is asked for by; its address is the JobManager's
_RPC, _BLOBS, _METRICS = "jobmanager-rpc", "jobmanager-blobs", "jobmanager-metrics"
_SETTINGS, _OK = "config.yaml", 200
# Names itself, so that nobody takes the TaskManager before it, which is listed for some seconds more, for this one.
_ID_FILE = "id"

# What Flink's own scripts open for it; `flink run` reads the same from env.java.opts.all.
_EXPORTED = (
    *(f"jdk.compiler/com.sun.tools.javac.{name}" for name in ("api", "file", "parser", "tree", "util")),
    "java.rmi/sun.rmi.registry",
    "java.security.jgss/sun.security.krb5",
)
_OPENED = tuple(
    f"java.base/{package}"
    for package in (
        *("java.lang", "java.lang.reflect", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.text", "java.time"),
        *("java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks"),
    )
)
_JAVA = " ".join(
    (
        *(f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTED),
        *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED),
    )
)
# Links, since `flink run` takes its classes from one folder, too. An embedded Python finds its environment by PATH.
_START = f"""\
rm -rf lib tmp && mkdir lib tmp && ln -s "$FLINK_HOME"/lib/*.jar "$FLINK_HOME"/opt/flink-python-*.jar \\
    "$CONNECTORS"/*.jar "$BRIDGE"/*.jar lib || exit
PATH="$VIRTUAL_ENV/bin:$PATH" exec java {_JAVA} \\
    -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError -Dlog4j2.configurationFile=log4j.properties"""
# About 0.7 and 1.4 GB of memory, of which 0.4 GB is the TaskManager's Python.
_JOB_MANAGER_JAVA = "-Xms128m -Xmx320m -XX:MaxMetaspaceSize=256m"
_TASK_MANAGER_JAVA = "-Xms128m -Xmx384m -XX:MaxDirectMemorySize=192m -XX:MaxMetaspaceSize=256m"
_TASK_MANAGER_MEMORY = {  # must agree with the line above: heap = framework + task, direct = framework + network
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.task.heap.size": "256m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
    "taskmanager.memory.managed.size": "256m",  # RocksDB
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
    "taskmanager.cpu.cores": "1.0",
}

_JOB_MANAGER_SCRIPT = f"""\
{_START} {_JOB_MANAGER_JAVA} \\
    org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint --configDir .
"""
_TASK_MANAGER_SCRIPT = f"""\
echo "$NAME-$$" >{_ID_FILE} || exit
{_START} {_TASK_MANAGER_JAVA} \\
    org.apache.flink.runtime.taskexecutor.TaskManagerRunner --configDir . -D "taskmanager.resource-id=$NAME-$$"
"""
_LOG4J = """\
rootLogger.level = {level}
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{{yyyy-MM-dd HH:mm:ss.SSS}} %-5p %c{{1}} - %m%n
logger.pekko.name = org.apache.pekko
logger.pekko.level = WARN
logger.kafka.name = org.apache.kafka
logger.kafka.level = WARN
logger.netty.name = org.jboss.netty.channel.DefaultChannelPipeline
logger.netty.level = OFF
"""


def task_manager_names(count: int) -> tuple[str, ...]:
    """Return the names of so many TaskManagers.

    >>> task_manager_names(2)
    ('taskmanager-1', 'taskmanager-2')
    """
    return tuple(f"taskmanager-{number}" for number in range(1, count + 1))


def flink(site: Site, software: FlinkSoftware, *, task_managers: int) -> tuple[Part, ...]:
    """Describe a cluster."""
    managers = (_task_manager(site, software, name) for name in task_manager_names(task_managers))
    return (_job_manager(site, software), *managers)


def _job_manager(site: Site, software: FlinkSoftware) -> Part:
    port = site.ports[NAME]
    folder = site.folder / NAME
    return Part(
        name=NAME,
        script=_JOB_MANAGER_SCRIPT,
        environment=_environment(site, software),
        folder=folder,
        files={**_files(_settings(site, software, folder)), "log4j-cli.properties": _LOG4J.format(level="WARN")},
        ports={each: site.ports[each] for each in (NAME, _RPC, _BLOBS, _METRICS)},
        address=f"http://{HOST}:{port}",
        answers=lambda: ask_http(port, "/overview")[0] == _OK,
    )


def _task_manager(site: Site, software: FlinkSoftware, name: str) -> Part:
    ports = {each: site.ports[each] for each in (name, f"{name}-data", f"{name}-metrics")}
    rpc, data, metrics = ports.values()
    folder, rest_port = site.folder / name, site.ports[NAME]
    settings = {
        **_settings(site, software, folder),
        **_TASK_MANAGER_MEMORY,
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "taskmanager.rpc.port": rpc,
        "taskmanager.data.port": data,
        "metrics.internal.query-service.port": metrics,
        # One that began to register at a JobManager that then died goes on asking for that one, even if another is at
        # its address; it is started again once it has given up.
        "taskmanager.registration.timeout": "60s",
        # Two jobs in one process would share an interpreter, and its lock.
        "taskmanager.numberOfTaskSlots": 1,
    }
    return Part(
        name=name,
        script=_TASK_MANAGER_SCRIPT,
        # A process that imported another kappa than today's is replaced.
        environment={**_environment(site, software), "NAME": name, "KAPPA_MODULES_HASH": software.modules_hash},
        folder=folder,
        files={**_files(settings), _ID_FILE: ""},  # empty until the new process has written its own
        ports=ports,
        address=f"{HOST}:{rpc}",
        answers=lambda: is_registered(rest_port, folder),
        needs=(NAME,),
        # A JobManager that has lost a TaskManager may not speak to another one at its address any more.
        roams=True,
    )


def is_registered(rest_port: int, folder: Path) -> bool:
    """Say whether the JobManager knows the TaskManager that was started last in a folder."""
    name = (folder / _ID_FILE).read_text().strip()
    return bool(name) and ask_http(rest_port, f"/taskmanagers/{name}")[0] == _OK


def _environment(site: Site, software: FlinkSoftware) -> dict[str, str]:
    """Return what both kinds need. Thread mode embeds a Python that knows of an environment only by these variables."""
    return {
        "FLINK_HOME": str(software.home),
        "FLINK_PLUGINS_DIR": str(software.plugins),
        "CONNECTORS": str(software.connectors),
        "BRIDGE": str(software.bridge),
        "CLASSPATH": "lib/*",
        # Not in the settings, which a page of the JobManager shows.
        "AWS_ACCESS_KEY_ID": site.secrets.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": site.secrets.s3_secret_key,
        "VIRTUAL_ENV": str(software.python.parents[1]),
        "PYTHONPATH": os.pathsep.join(map(str, software.modules)),
    }


def _settings(site: Site, software: FlinkSoftware, folder: Path) -> dict[str, str | int]:
    objects = f"s3://{s3.CHECKPOINTS}/flink"
    return {
        "jobmanager.rpc.address": HOST,
        "jobmanager.bind-host": HOST,
        "jobmanager.rpc.port": site.ports[_RPC],
        "blob.server.port": site.ports[_BLOBS],
        "metrics.internal.query-service.port": site.ports[_METRICS],
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": site.ports[NAME],
        "web.submit.enable": "false",  # jobs come by `flink run`
        "env.java.opts.all": _JAVA,
        "env.log.dir": str(folder / "tmp"),
        "io.tmp.dirs": str(folder / "tmp"),
        "python.executable": str(software.python),
        "python.client.executable": str(software.python),
        # A second job in one TaskManager would load Python's bridge a second time, which fails.
        "classloader.parent-first-patterns.additional": "pemja",
        # Whoever is gone is noticed within seconds, as people at a terminal expect.
        "heartbeat.interval": "2s",
        "heartbeat.timeout": "8s",
        "metrics.fetcher.update-interval": "2s",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1s",
        "restart-strategy.exponential-delay.max-backoff": "30s",
        "state.backend.type": "rocksdb",
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.dir": f"{objects}/checkpoints",
        "execution.checkpointing.savepoint-dir": f"{objects}/savepoints",
        "s3.endpoint": f"http://{HOST}:{site.ports[s3.NAME]}",
        "s3.path.style.access": "true",
    }


def _files(settings: Mapping[str, str | int]) -> dict[str, str]:
    return {
        # A string of JSON is one of YAML.
        _SETTINGS: "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()),
        "log4j.properties": _LOG4J.format(level="INFO"),
    }


def client_environment(folder: Path) -> Mapping[str, str]:
    """Return the variables by which `flink run` finds the cluster of a stack, and what jobs need."""
    return {"FLINK_CONF_DIR": str(folder / NAME), "FLINK_LIB_DIR": str(folder / NAME / "lib")}
