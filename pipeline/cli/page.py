"""`feedback page`."""

from __future__ import annotations

import asyncio
import signal

from pipeline.cli.common import ConfigOption, console, load_settings


def run(config: ConfigOption = None) -> None:
    """Serve the page: rolling scores of all touchpoints, live, at page.listen.

    It asks the workers at page.workers and the store; the numbers are theirs. It only reads, and knows no accounts: put
    a reverse proxy before it where others shall see it.
    """
    from pipeline.page.server import listening, of, reachable

    settings = load_settings(config)

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with listening(of(settings), settings.page.listen):
            console.print(f"the page is at http://{reachable(settings.page.listen)}")
            await stop.wait()

    asyncio.run(main())
