"""`feedback gateway`."""

from __future__ import annotations

import asyncio
import signal

from pipeline.cli.common import ConfigOption, console, fail, load_settings
from pipeline.cli.sending import scales_of, target_of


def run(config: ConfigOption = None) -> None:
    """Take events over HTTP: POST /v1/events, one JSON event or a list, with a bearer token.

    An event is what a line of `feedback emit` is. The answer is 202 once the broker has acknowledged all of
    them, 400 with every fault where something is wrong (then nothing is sent), 503 while the broker is away.
    It listens on gateway.listen; put a reverse proxy with TLS before it where it shall be reached from
    elsewhere.

    Example: curl -H "Authorization: Bearer $TOKEN" --json '{"type": "touchpoint", "source": "shop",
    "touchpoint": "checkout", "action": "order_paid", "channel": "web"}' http://127.0.0.1:8088/v1/events
    """
    from pipeline.gateway.door import Door
    from pipeline.gateway.server import serve

    settings = load_settings(config)
    tokens = [token.get_secret_value() for token in settings.gateway.tokens]
    if not tokens:
        fail("the gateway needs a token: set gateway.tokens, or FEEDBACK_GATEWAY__TOKENS in the environment")

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        listen = settings.gateway.listen
        async with serve(
            listen.host, listen.port, target_of(settings), Door(tokens), scales_of(settings)
        ) as address:
            console.print(f"the gateway takes events at {address}/v1/events")
            await stop.wait()

    asyncio.run(main())
