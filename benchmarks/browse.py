"""`make bench-browse`: how fast `advkd browse` answers, over a real S3 server on loopback.

`python -m benchmarks.browse` prints; `--write` also writes `docs/benchmarks/browse.md`; `--scale small` is for trying
the script out.
"""

import argparse
import asyncio
import random
import re
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import httpx
import psutil

from benchmarks.browse_map import fill_many, map_figures, rows_figures
from benchmarks.browse_slider import frames_per_second
from benchmarks.cache_data import LAYOUTS, filled_store, spec_of
from benchmarks.cache_process import call
from benchmarks.cache_report import Goal
from benchmarks.cache_s3 import upload
from benchmarks.cache_shards import simulate
from benchmarks.measure import REPEATS, progress, spread, table, write
from storage import join, open_store, store_uri
from storage.testing.trajectories import fill, make_spec
from tests.advkd.browse.served import served
from tests.advkd.browse.specs import image_spec
from tests.advkd.browse.test_limits import CRAFTED, fill_identity
from tests.s3_server import serve_s3

VIEWERS = 50
CLEAN = 0


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured."""

    samples: int = 4096
    random_samples: int = 100_000
    simulated: tuple[int, int] = (1_000, 100_000_000)
    rounds: int = 8
    seconds: float = 4.0
    stores: int = 500


SCALES = {
    "full": Scale(),
    "small": Scale(samples=512, random_samples=2_000, simulated=(1_000, 100_000), rounds=2, seconds=1.0, stores=20),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="advkd-bench-") as folder:
        text = page(run(Path(folder), SCALES[chosen.scale]))
    if chosen.write and chosen.scale == "full":
        write("browse", text)
    else:
        print(text)


def run(folder: Path, scale: Scale) -> list[Goal]:
    """Every figure of the issue."""
    goals: list[Goal] = []
    with serve_s3(folder / "s3") as server:
        environment = server.environment()
        bucket = server.make_bucket()
        for layout in LAYOUTS:
            source = filled_store(folder, layout, scale.samples)
            uri = join(bucket, layout)
            call(upload, {layout: source}, {layout: uri}, environment=environment)
            name = open_store(source).manifest.digest[:16]
            runs = [_one_server(uri, name, scale, environment) for _ in range(REPEATS)]
            goals += _goals_of(layout, {what: [one[what] for one in runs] for what in runs[0]})
        goals += _many_stores(bucket, scale, environment)
    return [*goals, _sizes(folder, scale), _half_open(folder), _crafted(folder)]


def _many_stores(bucket: str, scale: Scale, environment: dict[str, str]) -> list[Goal]:
    """A fresh server over hundreds of small stores in S3: the first rows, and all of them."""
    call(fill_many, join(bucket, "many"), scale.stores, environment=environment)
    times = []
    for _ in range(REPEATS):
        with served(join(bucket, "many"), **environment) as address:
            times.append(rows_figures(address, scale.stores))
        progress(f"  rows: {times[-1]}")
    first, whole = zip(*times, strict=True)
    return [
        Goal(
            what=f"list of {scale.stores} stores in S3, first rows in Chromium",
            to_reach="<= 1 s",
            measured=f"{spread(first)} s; all rows after {spread(whole)} s",
            reached=median(first) <= 1.0,
        )
    ]


def _one_server(uri: str, name: str, scale: Scale, environment: dict[str, str]) -> dict[str, float]:
    """All figures of one server that has just started, in the order in which they stay cold, and those of another."""
    found: dict[str, float] = {}
    with served(uri, **environment) as address, httpx.Client(base_url=address, timeout=60) as client:
        client.get("/static/favicon.svg")

        def milliseconds(path: str) -> float:
            began = time.perf_counter()
            answer = client.get(path)
            assert answer.status_code == 200, answer.text
            return 1e3 * (time.perf_counter() - began)

        wall = f"/api/sheet/{name}?samples=0-99&t={CLEAN}"
        found["page"] = milliseconds(f"/s/{name}")
        found["wall, cold"] = milliseconds(wall)
        found["wall, warm"] = median(milliseconds(wall) for _ in range(9))
        small = sorted(milliseconds(f"/api/stores/{name}/conditions?samples=0") for _ in range(60))
        found["small"], found["small, p95"] = median(small), small[int(0.95 * len(small))]
        found["trajectory, cold"] = milliseconds(f"/api/stores/{name}/strip/{scale.samples - 5}")
        found["slider"] = frames_per_second(f"{address}/s/{name}/gallery", scale.seconds)
        found["p99"] = asyncio.run(_viewers(address, name, scale))
        generator = random.Random(0)
        for _ in range(scale.random_samples // 100):
            numbers = ",".join(str(number) for number in generator.sample(range(scale.samples), 100))
            milliseconds(f"/api/sheet/{name}?samples={numbers}&t={CLEAN}")
        found["memory"] = _server_memory()
    with served(uri, **environment) as address:
        first, frames = map_figures(f"{address}/s/{name}/map", scale.samples, scale.seconds)
        found["map, cold"], found["map, panned"] = first, frames
    for what, figure in found.items():
        progress(f"  {what}: {figure:.4g}")
    return found


def _server_memory() -> float:
    """Megabytes resident of the server that this process has started."""
    servers = [one for one in psutil.Process().children() if "browse" in one.cmdline()]
    return sum(one.memory_info().rss for one in servers) / 1e6


async def _viewers(address: str, name: str, scale: Scale) -> float:
    """99th percentile, in seconds, of 50 people's requests: pages, walls, trajectories, a second or so in between."""
    generator = random.Random(1)
    times: list[float] = []
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=httpx.Limits(max_connections=VIEWERS)) as client:

        async def viewer() -> None:
            for _ in range(scale.rounds):
                first = generator.randrange(scale.samples - 100)
                for path in (
                    f"/s/{name}/gallery",
                    f"/api/sheet/{name}?samples={first}-{first + 99}&t={CLEAN}",
                    f"/api/stores/{name}/strip/{first}",
                    f"/api/stores/{name}/state",
                ):
                    await asyncio.sleep(generator.uniform(0.5, 1.5))
                    began = time.perf_counter()
                    answer = await client.get(path)
                    assert answer.status_code == 200
                    times.append(time.perf_counter() - began)

        await asyncio.gather(*(viewer() for _ in range(VIEWERS)))
    return sorted(times)[int(0.99 * len(times))]


def _half_open(folder: Path) -> Goal:
    """An honest request beside 300 connections whose requests never end, with 256 file descriptors."""
    root, times = str(folder / "open"), list[float]()
    fill(root, make_spec(), 8)
    for _ in range(REPEATS):
        with served(root, descriptors=256) as address, ExitStack() as held:
            port = urlsplit(address).port
            for _ in range(300):
                each = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
                with suppress(OSError):
                    each.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            began = time.perf_counter()
            assert httpx.get(f"{address}/", timeout=30).status_code == 200
            times.append(time.perf_counter() - began)
    return Goal(
        what="an honest request beside 300 half-open connections, 256 descriptors",
        to_reach="<= 2 s",
        measured=f"{spread(times)} s",
        reached=median(times) <= 2.0,
    )


def _crafted(folder: Path) -> Goal:
    """A list with stores whose records claim what no object holds: each is named, none is believed."""
    root, memory = str(folder / "crafted"), list[float]()
    fill(root, image_spec(), 32)
    crafted = [image_spec(**changes) for changes, _ in CRAFTED.values()]
    for spec in crafted:
        Path(store_uri(root, spec)).mkdir(parents=True)
        fill_identity(root, spec)
    for _ in range(REPEATS):
        with served(root) as address:
            page = httpx.get(address, timeout=60).text
            while "reading more" in page:
                page = httpx.get(address, timeout=60).text
            refused = re.findall(r'<tr class="bad">.*?<code>([^<]*)</code>', page, re.DOTALL)
            assert set(refused) == {store_uri(root, spec) for spec in crafted}
            memory.append(_server_memory())
    return Goal(
        what=f"memory of the server that lists {len(crafted)} crafted stores, each refused by name",
        to_reach="< 400 MB",
        measured=f"{spread(memory)} MB",
        reached=median(memory) < 400,
    )


def _sizes(folder: Path, scale: Scale) -> Goal:
    """A store of 10^8 samples against one of 10^3: the first page of a fresh server, simulated stores on disk."""
    spec = spec_of("zarr", 4096)
    runs: list[dict[int, float]] = []
    roots = {}
    for samples in scale.simulated:
        roots[samples] = str(folder / f"simulated-{samples}")
        call(simulate, roots[samples], -(-samples // spec.shard_samples))
    # A page takes some tens of milliseconds, so that one pair says little.
    for _ in range(3 * REPEATS):
        runs.append({samples: _first_page(store_uri(root, spec)) for samples, root in roots.items()})
        progress(f"  first pages: {runs[-1]}")
    small, large = scale.simulated
    ratios = [one[large] / one[small] for one in runs]
    return Goal(
        what=f"first page of a simulated store of {large:.0e} samples, against one of {small:.0e}",
        to_reach="as fast",
        measured=f"{spread(ratios)}x, {median(one[large] for one in runs):.0f} ms",
        reached=median(ratios) < 1.5,
    )


def _first_page(uri: str) -> float:
    with served(uri) as address, httpx.Client(base_url=address, timeout=60) as client:
        client.get("/static/favicon.svg")
        began = time.perf_counter()
        assert client.get(f"/s/{uri.rsplit('/', 1)[-1]}").status_code == 200
        return 1e3 * (time.perf_counter() - began)


_LIMITS: tuple[tuple[str, str, str, str, Callable[[float], bool]], ...] = (
    ("page", "first page of a store", "< 300 ms", "ms", lambda found: found < 300),
    ("wall, cold", "100 thumbnails at 32x32, cold", "< 500 ms", "ms", lambda found: found < 500),
    ("wall, warm", "the same, warm", "< 50 ms", "ms", lambda found: found < 50),
    ("small", "a small answer on a kept connection, of 60", "<= 3 ms", "ms", lambda found: found <= 3),
    ("small, p95", "the 95th percentile of these", "< 40 ms", "ms", lambda found: found < 40),
    ("trajectory, cold", "one trajectory, cold", "< 150 ms", "ms", lambda found: found < 150),
    ("slider", "slider in Chromium, after the first load", ">= 30 frames/s", "frames/s", lambda found: found >= 30),
    ("map, cold", "map of 4096 samples, cold, to its first painting", "<= 1.5 s", "s", lambda found: found <= 1.5),
    ("map, panned", "map of 4096 samples, panned", ">= 30 frames/s", "frames/s", lambda found: found >= 30),
    ("p99", f"{VIEWERS} viewers, 99th percentile", "< 1 s", "s", lambda found: found < 1),
    ("memory", "memory of the server after {samples} random samples", "< 300 MB", "MB", lambda found: found < 300),
)


def _goals_of(layout: str, found: dict[str, list[float]]) -> list[Goal]:
    return [
        Goal(
            what=f"{layout}: {what.format(samples='10^5')}",
            to_reach=to_reach,
            measured=f"{spread(found[key])} {unit}",
            reached=reached(median(found[key])),
        )
        for key, what, to_reach, unit, reached in _LIMITS
    ]


def page(goals: list[Goal]) -> str:
    """The report in markdown."""
    rows = table(("what", "to reach", "measured", "reached"), [goal.row for goal in goals])
    return (
        "# Browsing, measured\n\n"
        "`make bench-browse`, on two x86-64 cores that the server, the S3 server (`rclone serve s3`), the clients and "
        f"Chromium share. Each layout was measured with {REPEATS} freshly started servers; figures are medians, with "
        "the lowest and the highest in brackets. Times are those that a client on the loopback sees. The store has "
        "4096 samples of 5 states 3x32x32 in float16 (126 MB). *Cold* means the first request of its kind to a server "
        "that has read nothing of that block yet. A viewer requests a page, a wall of 100, a trajectory and the "
        "store's state in turn, about a second apart. The map is measured on a server of its own. The list is of small "
        "stores, and its pictures are not asked for. A small answer that waited for the client's delayed "
        "acknowledgement would take 40 ms. "
        "Memory is the resident memory after 1000 walls of 100 random samples, "
        "without a student (torch is then not imported).\n\n"
        f"{rows}"
    )


if __name__ == "__main__":
    main()
