"""Takes the pictures of docs/ of a running demo: python -m tests.e2e.take_picture [URL]."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.e2e.browser import Tab, tab

DOCS = Path(__file__).parents[2] / "docs"
WIDTH, HEIGHT = 1240, 1000
ROWS = 6  # so many touchpoints fit a README
LINES = "document.querySelector('#table tbody .csat .line')?.getAttribute('d')?.length > 40"


async def main(address: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with tab(Path(folder) / "profile") as page:
            await page.size(WIDTH, HEIGHT, scale=2)
            await dressed(page, "light")
            await page.open(address)
            await page.until(LINES, 60)
            await taken(page, "page.png", f"document.querySelectorAll('#table tbody tr')[{ROWS - 1}]")
            await dressed(page, "dark")
            await page.ask("location.hash = document.querySelector('[data-touchpoint=payment] a').hash")
            await page.until("document.querySelectorAll('#by-channel tbody tr').length > 1")
            await taken(page, "page-detail.png", "document.getElementById('by-segment')")


async def dressed(page: Tab, theme: str) -> None:
    """In this theme, and without anything that moves or glows."""
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    features = [still, {"name": "prefers-color-scheme", "value": theme}]
    await page.call("Emulation.setEmulatedMedia", features=features)


async def taken(page: Tab, name: str, last: str) -> None:
    """A picture of everything down to `last`."""
    await asyncio.sleep(3)  # until all of it has come
    await page.ask("document.activeElement.blur()")
    bottom = await page.ask(f"{last}.getBoundingClientRect().bottom")
    await page.picture(DOCS / name, height=int(bottom))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/"))
