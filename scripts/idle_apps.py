#!/usr/bin/env python3
"""Thousands of idle apps on one platform: what each costs in memory, how long a start takes, and whether a busy app
notices them.

    scripts/idle_apps.py --fermion target/release/fermion --apps 5000

Makes that many distinct components out of one small guest (each has a custom section of its own), deploys them over the
admin API, restarts the platform, and measures. Writes a table, and JSON with --json. Everything lies in a temporary
folder and is gone afterwards.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

APPS_MAX = 20_000
WORKERS = 8
READY_SECONDS_MAX = 600
# What a start needed and needs no more is given back by then: threads, instances that waited, freed memory.
SETTLE_SECONDS = 45


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--fermion", default="target/release/fermion")
    parser.add_argument("--guest", default="target/guests/p2-hello.wasm")
    parser.add_argument("--apps", type=int, default=5_000)
    parser.add_argument("--requests", type=int, default=5_000, help="to the busy app, each time")
    parser.add_argument("--folder", help="where to work, instead of the system's temporary folder")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if not 1 <= chosen.apps <= APPS_MAX:
        parser.error(f"--apps is 1 to {APPS_MAX}")
    return chosen


def leb(number):
    out = bytearray()
    while True:
        byte, number = number & 0x7F, number >> 7
        out.append(byte | (0x80 if number else 0))
        if not number:
            return bytes(out)


def distinct(wasm, name):
    """The component with a custom section that no other has. Its name is one that packing keeps."""
    label = b"metadata.code.distinct"
    section = leb(len(label)) + label + name.encode()
    return wasm + b"\x00" + leb(len(section)) + section


class Platform:
    def __init__(self, binary, data):
        self.binary, self.data, self.process = binary, data, None

    def start(self, *more):
        """Seconds from exec to the line that says that all is ready."""
        begun = time.monotonic()
        command = [self.binary, "up", "--json", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0",
                   f"--data={self.data}", *more]
        log = open(self.data.with_suffix(".log"), "ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        for line in self.process.stdout:
            if line.startswith("{") and (event := json.loads(line)).get("event") == "up":
                self.gateway, self.admin = event["gateway"], event["admin"]
                self.apps = len(event["apps"])
                return time.monotonic() - begun
            if time.monotonic() - begun > READY_SECONDS_MAX:
                break
        raise SystemExit(f"the platform did not start: see {log.name}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)

    def memory(self):
        """Resident and proportional KiB of the process, and what its memory files hold beside."""
        rollup = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        field = {line.split(":")[0]: line.split()[1] for line in rollup.splitlines()[1:]}
        return int(field["Rss"]), int(field["Pss"])

    def shape(self):
        process = pathlib.Path(f"/proc/{self.process.pid}")
        mappings = sum(1 for _ in open(process / "maps"))
        return len(os.listdir(process / "fd")), mappings, len(os.listdir(process / "task"))

    def get(self, path):
        connection = http.client.HTTPConnection(self.gateway, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status


def deploy(binary, platform, folder, wasm, name):
    project = folder / name
    project.mkdir(parents=True)
    (project / "app.wasm").write_bytes(distinct(wasm, name))
    (project / "fermion.toml").write_text(
        f'[package]\nname = "idle/{name}"\nversion = "1.0.0"\ncomponent = "app.wasm"\n'
        '[build]\ncommand = "true"\n'
    )
    (project / "app.yaml").write_text(
        f"apiVersion: fermion.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec: {{routes: [{{path: /{name}/*}}]}}\n"
    )
    begun = time.monotonic()
    command = [binary, "--json", "deploy", str(project), f"--admin={platform.admin}", f"--data={platform.data}"]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{name}: {ran.stdout}{ran.stderr}")
    shutil.rmtree(project)
    return time.monotonic() - begun


def latencies(platform, path, count):
    """Microseconds of one keep-alive connection's requests: p50, p99."""
    connection = http.client.HTTPConnection(platform.gateway, timeout=30)
    taken = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        taken.append(time.perf_counter_ns() - begun)
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status}")
    taken.sort()
    return taken[count // 2] / 1e3, taken[count * 99 // 100] / 1e3


def main():
    chosen = arguments()
    binary = str(pathlib.Path(chosen.fermion).resolve())
    wasm = pathlib.Path(chosen.guest).read_bytes()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fermion-idle-", dir=chosen.folder))
    try:
        result = measure(chosen, binary, wasm, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if chosen.json:
        return print(json.dumps(result, indent=2))
    width = max(map(len, result))
    for name, value in result.items():
        print(f"{name:<{width}}  {value}")


def measure(chosen, binary, wasm, folder):
    result = {"apps": chosen.apps}
    platform = Platform(binary, folder / "data")
    platform.start()
    try:
        deploy(binary, platform, folder / "projects", wasm, "busy")
        platform.stop()
        result["start with 1 app, s"] = round(platform.start(), 3)
        platform.get("/busy/")
        latencies(platform, "/busy/", chosen.requests // 5)
        time.sleep(SETTLE_SECONDS)
        base, base_pss = platform.memory()
        shape = platform.shape()
        alone = latencies(platform, "/busy/", chosen.requests)

        names = [f"idle-{number}" for number in range(chosen.apps)]
        seconds = []
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            work = [
                pool.submit(deploy, binary, platform, folder / "projects", wasm, name) for name in names
            ]
            for done in work:
                seconds.append(done.result())
                if len(seconds) % 250 == 0:
                    print(f"{len(seconds)} deployed, {time.monotonic() - begun:.0f} s", file=sys.stderr)
        part = max(1, len(seconds) // 10)
        result["deploys/s"] = round(chosen.apps / (time.monotonic() - begun), 1)
        result["a deploy at first, s"] = round(sum(seconds[:part]) / part, 3)
        result["a deploy at last, s"] = round(sum(seconds[-part:]) / part, 3)
        loaded, _ = platform.memory()
        result["KiB a deployed app, loaded"] = round((loaded - base) / chosen.apps, 1)

        platform.stop()
        result["start, cached code, s"] = round(platform.start(), 3)
        if platform.apps != chosen.apps + 1:
            raise SystemExit(f"{platform.apps} apps after the restart")
        # The clean-up of the start, and the busy app as before.
        latencies(platform, "/busy/", chosen.requests // 5)
        time.sleep(SETTLE_SECONDS)
        resident, pss = platform.memory()
        result["KiB an idle app, resident"] = round((resident - base) / chosen.apps, 1)
        result["KiB an idle app, proportional"] = round((pss - base_pss) / chosen.apps, 1)
        result["base, KiB"] = base
        result["descriptors, mappings, threads with 1"] = shape
        result["descriptors, mappings, threads with all"] = platform.shape()
        crowded = latencies(platform, "/busy/", chosen.requests)
        result["busy app p50, us: alone, among all"] = [round(alone[0]), round(crowded[0])]
        result["busy app p99, us: alone, among all"] = [round(alone[1]), round(crowded[1])]
        wakes = []
        for name in names[:: max(1, chosen.apps // 100)]:
            begun = time.perf_counter_ns()
            if platform.get(f"/{name}/") != 200:
                raise SystemExit(f"{name} does not answer")
            wakes.append((time.perf_counter_ns() - begun) / 1e6)
        wakes.sort()
        result["first request of a dormant app, ms: p50, p99"] = [
            round(wakes[len(wakes) // 2], 2), round(wakes[len(wakes) * 99 // 100], 2)
        ]
        return result
    finally:
        platform.process.kill()


if __name__ == "__main__":
    main()
