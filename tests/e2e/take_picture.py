"""Takes docs/page.png of a running demo: python -m tests.e2e.take_picture [URL]."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.e2e.browser import tab

PICTURE = Path(__file__).parents[2] / "docs" / "page.png"
WIDTH, HEIGHT = 1240, 1000
ROWS = 6  # so many touchpoints fit a README


async def main(address: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with tab(Path(folder) / "profile") as page:
            await page.size(WIDTH, HEIGHT, scale=2)
            await page.open(address)
            await page.until(
                "document.querySelector('#table tbody .csat .line')?.getAttribute('d')?.length > 40", 60
            )
            await asyncio.sleep(3)  # until what changed meanwhile has stopped glowing
            below = f"document.querySelectorAll('#table tbody tr')[{ROWS - 1}].getBoundingClientRect().bottom"
            await page.picture(PICTURE, height=int(await page.ask(below)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/"))
