#!/usr/bin/env python3
"""How long a bad release has traffic, and whom it hits: the time from the first bad answer that a caller gets to the
moment at which the node gives the release no more, at a rate and a weight.

Usage: bench_rollout.py [--rounds N] [--rate R] [--weight PERCENT]
"""
import argparse, asyncio, os, re, statistics, subprocess, tempfile, time

from measure import platform
from measure.server import FERMION, ask

# What the bad release does on a path that the good one answers: it traps, or it answers late.
BADS = [("traps", "/shop/trap"), ("loops until its CPU limit", "/shop/loop")]
GIVEN_UP = 60  # seconds


async def request(port, path, outcomes):
    """A caller whom nobody knows, on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n".encode())
    status = (await reader.readline()).split()
    await reader.read()
    writer.close()
    outcomes.append((time.monotonic(), status[1].decode() if len(status) > 1 else "none"))


async def load(port, path, rate, over, outcomes):
    """Requests that are due at a rate whatever the server does."""
    begun, sent, open_ones = time.monotonic(), 0, set()
    while not over.is_set():
        while sent < (time.monotonic() - begun) * rate:
            task = asyncio.create_task(request(port, path, outcomes))
            open_ones.add(task)
            task.add_done_callback(open_ones.discard)
            sent += 1
        await asyncio.sleep(0.5 / rate)
    await asyncio.gather(*open_ones)
    return sent


def weight(server):
    """What the node gives the release on trial, in hundredths of a percent; none while it has none."""
    token = open(os.path.join(server.work, "data", "admin.token")).read().strip()
    _, _, text = ask(server.admin, "/api/v1/namespaces/default/apps", headers=[f"authorization: Bearer {token}"])
    found = re.search(r'"canary_weight":(\d+)', text.decode())
    return int(found[1]) if found else None


def command(server, *words):
    subprocess.run([FERMION, *words, "--admin", f"127.0.0.1:{server.admin}", "--data", os.path.join(server.work, "data")],
                   check=True, capture_output=True, timeout=120)


async def round_of(options, path):
    with tempfile.TemporaryDirectory(prefix="rollout-") as work:
        limits = '[limits]\ncpu_time = "20ms"\n'
        folder = platform.project(work, "shop", "p2-hello", "1.0.0", limits)
        with open(os.path.join(folder, "app.yaml"), "w") as f:
            f.write("apiVersion: fermion.dev/v1\nkind: App\nmetadata: {name: shop}\nspec:\n  rollout: {strategy: canary, "
                    f"steps: [{{weight: {options.weight}%, bake: 10m}}], judge: {{metrics: [errors]}}}}\n")
        server = platform.up("rollout", [folder], "/shop/hello").start(work)
        try:
            outcomes, over = [], asyncio.Event()
            loading = asyncio.create_task(load(server.port, path, options.rate, over, outcomes))
            await asyncio.sleep(2)
            platform.project(work, "shop", "p2-edge", "1.0.1", limits)
            await asyncio.to_thread(command, server, "deploy", folder)
            had, gone, deadline = False, None, time.monotonic() + GIVEN_UP
            while gone is None and time.monotonic() < deadline:
                now = await asyncio.to_thread(weight, server)
                had = had or bool(now)
                if had and not now:
                    gone = time.monotonic()
                await asyncio.sleep(0.02)
            await asyncio.sleep(1)
            over.set()
            sent = await loading
        finally:
            server.stop()
    bad = [at for at, status in outcomes if status != "200"]
    if not bad or gone is None:
        return None
    return gone - bad[0], max(bad) - bad[0], len(bad), sent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=200, help="requests a second")
    parser.add_argument("--weight", type=float, default=5, help="percent of traffic of the first step")
    options = parser.parse_args()
    print(f"{options.rate} requests/s, {options.weight:g} % of them to the new release, {options.rounds} rounds: median, most\n")
    print("| the new release | weight 0 after the first bad answer, s | last bad answer after the first, s | bad answers "
          "| of requests |")
    print("|---|---|---|---|---|")
    for word, path in BADS:
        rounds = [asyncio.run(round_of(options, path)) for _ in range(options.rounds)]
        missed = sum(found is None for found in rounds)
        rounds = [found for found in rounds if found]
        cells = []
        for index, form in ((0, "{:.2f}"), (1, "{:.2f}"), (2, "{:.0f}")):
            values = [found[index] for found in rounds]
            cells.append(f"{form.format(statistics.median(values))}, {form.format(max(values))}" if values else "-")
        requests = f"{statistics.median(found[3] for found in rounds):.0f}" if rounds else "-"
        print(f"| {word}{f' ({missed} rounds without an end)' if missed else ''} | {' | '.join(cells)} | {requests} |", flush=True)


if __name__ == "__main__":
    main()
