"""Scrapes with and without 500 clients that send a request at one byte per second."""

import argparse
import asyncio
import contextlib
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from gzip import decompress
from typing import Final

from benchmarks.scrape.scraper import Mode, Times, fetch, scrape
from benchmarks.scrape.servers import EXPORTER, server
from benchmarks.tables import milliseconds, table

_REQUEST: Final = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Padding: " + b"a" * 1000


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args(arguments)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor, server(EXPORTER, options.jobs) as port:
        rows = [_row("quiet", executor, port, options.seconds)]
        siege = context.Process(target=drip, args=(port, options.clients), daemon=True)
        siege.start()
        rows.append(_row(f"{options.clients} slow clients", executor, port, options.seconds))
        siege.terminate()
    table(["", "scrapes", "p50", "p99", "worst", "memory"], rows)


def _row(name: str, executor: ProcessPoolExecutor, port: int, seconds: float) -> list[str]:
    times = Times.of(scrape(executor, port, Mode(kept_alive=False, pause_s=0.01), seconds))
    text = decompress(fetch(port, gzip=True)).decode()
    resident = next(line for line in text.splitlines() if line.startswith("process_resident_memory_bytes "))
    memory = f"{float(resident.split()[1]) / 2**20:.0f} MB"
    return [name, f"{times.scrapes:,}", *map(milliseconds, (times.p50, times.p99, times.worst)), memory]


def drip(port: int, clients: int) -> None:
    """Run slow clients, which reconnect when they are disconnected."""

    async def client() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                for byte in _REQUEST:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        if not await asyncio.wait_for(reader.read(1), 1.0):
                            break
                writer.close()
            await asyncio.sleep(0.1)

    async def run_all() -> None:
        await asyncio.gather(*(client() for _ in range(clients)))

    asyncio.run(run_all())


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
