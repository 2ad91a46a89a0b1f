"""How clients of ours reach the brokers: addresses, encryption, login."""

from __future__ import annotations

import ssl
from typing import Any

from pipeline.config import Settings

# For every reader of what apps send: records of a transaction that was aborted never happened.
COMMITTED = "read_committed"


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments that every aiokafka client of this cluster takes."""
    security = settings.kafka.security
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka.bootstrap,
        "security_protocol": security.protocol,
    }
    if "SSL" in security.protocol:
        options["ssl_context"] = ssl_context(settings)
    if security.protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": security.username,
            "sasl_plain_password": security.password.get_secret_value(),
        }
    return options


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """The certificates of `kafka.security`."""
    security = settings.kafka.security
    context = ssl.create_default_context(cafile=security.ca_file and str(security.ca_file))
    if security.cert_file:
        context.load_cert_chain(str(security.cert_file), security.key_file and str(security.key_file))
    return context


def credentials(settings: Settings) -> Any:
    """The same as Faust credentials; None for a plain connection."""
    import faust  # a second of imports, which only the worker needs

    security = settings.kafka.security
    context = ssl_context(settings) if "SSL" in security.protocol else None
    if security.protocol.startswith("SASL"):
        return faust.SASLCredentials(
            mechanism=security.mechanism,
            username=security.username,
            password=security.password.get_secret_value(),
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None
