"""The options of a Kafka client in the words of Java's, for a job that reads the same topics. Pure.

Options are those of librdkafka, which has other names than Java's client where keys, certificates and passwords are
concerned. One that has no counterpart here is refused: a cluster that is reached in another way than was asked for
would be a surprise at best.
"""

from __future__ import annotations

from collections.abc import Mapping

from kappa.errors import ProjectError

_SAME = {"security.protocol", "client.id", "ssl.endpoint.identification.algorithm"}
_RENAMED = {"sasl.mechanism": "sasl.mechanism", "sasl.mechanisms": "sasl.mechanism"}
_LOGIN = {"sasl.username", "sasl.password"}
_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
_AUTHORITY = "ssl.ca.location"


def java_client(options: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of Java's client for options of librdkafka, whose secrets are filled in.

    Raises:
        ProjectError: An option has no counterpart.

    >>> java_client({"security.protocol": "SSL", "ssl.ca.location": "/etc/ca.pem"})["ssl.truststore.location"]
    '/etc/ca.pem'
    """
    settings = {}
    for name, value in options.items():
        if name in _SAME:
            settings[name] = value
        elif name in _RENAMED:
            settings[_RENAMED[name]] = value
        elif name == _AUTHORITY:
            settings |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": value}
        elif name not in _LOGIN:
            raise ProjectError(
                f"kafka.options: a Flink job cannot be given {name}",
                next_step="leave it out, or set engine.kind to embedded",
            )
    if _LOGIN & options.keys():
        settings["sasl.jaas.config"] = _login(settings.get("sasl.mechanism", ""), options)
    return settings


def _login(mechanism: str, options: Mapping[str, str]) -> str:
    if mechanism not in _MODULES:
        raise ProjectError(
            f"kafka.options: a Flink job can log in by {', '.join(_MODULES)}, got '{mechanism}'",
            next_step="set sasl.mechanism to one of them, or engine.kind to embedded",
        )
    user, password = (_quoted(options.get(name, "")) for name in ("sasl.username", "sasl.password"))
    return f"{_MODULES[mechanism]} required username={user} password={password};"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
