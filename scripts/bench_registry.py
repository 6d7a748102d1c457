"""Measures a registry from the outside: see bench-registry.sh. Writes a table to standard output."""

import argparse
import base64
import hashlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

LAYER_BYTES = 100 * 1024
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def layer(number):
    """Bytes that no other package has, and that every run has again."""
    return random.Random(number).randbytes(LAYER_BYTES)


def sha256(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def manifest(number, content):
    config = json.dumps({"number": number}).encode()
    described = lambda media, blob: {"mediaType": media, "digest": sha256(blob), "size": len(blob)}
    return config, json.dumps({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described("application/vnd.wasm.config.v0+json", config),
        "layers": [described("application/wasm", content)],
    }).encode()


class Client:
    """One connection that is kept."""

    def __init__(self, port, password):
        self.port, self.connection = port, None
        pair = base64.b64encode(f"x:{password}".encode()).decode()
        # A registry that is not told so takes its caller for one that cannot read manifests of OCI.
        self.headers = {"Accept": f"{MANIFEST}, */*"}
        if password:
            self.headers["Authorization"] = "Basic " + pair

    def ask(self, method, path, body=None, media="application/octet-stream"):
        headers = dict(self.headers)
        if body is not None:
            headers.update({"Content-Type": media, "Content-Length": str(len(body))})
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                self.connection.request(method, path, body, headers)
                response = self.connection.getresponse()
                return response, response.read()
            except (http.client.HTTPException, OSError):
                self.connection = None
                if attempt == 2:
                    raise

    def want(self, status, *request, **more):
        response, content = self.ask(*request, **more)
        if response.status != status:
            sys.exit(f"{request[:2]}: {response.status} {content[:300]}")
        return response, content

    def push(self, name, number):
        content = layer(number)
        config, document = manifest(number, content)
        for blob in (config, content):
            begun, _ = self.want(202, "POST", f"/v2/{name}/blobs/uploads/", b"")
            place = begun.getheader("Location")
            place = place[place.index("/v2/"):]
            place += ("&" if "?" in place else "?") + "digest=" + sha256(blob)
            self.want(201, "PUT", place, blob)
        self.want(201, "PUT", f"/v2/{name}/manifests/1.0.0", document, media=MANIFEST)

    def pull(self, name):
        _, document = self.want(200, "GET", f"/v2/{name}/manifests/1.0.0")
        document = json.loads(document)
        for part in (document["config"], document["layers"][0]):
            _, content = self.want(200, "GET", f"/v2/{name}/blobs/{part['digest']}")
            if len(content) != part["size"]:
                sys.exit(f"{name}: {len(content)} bytes")


def name(number):
    return f"acme/package-{number}"


def rate(count, clients, make, work):
    """How often a second `work` is done by so many at once."""
    turns = iter(range(count))
    lock = threading.Lock()

    failed = []

    def run():
        client = make()
        while not failed:
            with lock:
                turn = next(turns, None)
            if turn is None:
                return
            try:
                work(client, turn)
            except BaseException as reason:  # an exit in a thread would end only the thread
                failed.append(reason)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return count / (time.monotonic() - begun)


class Ours:
    title = "fermion registry"

    def __init__(self, folder, binary):
        self.folder, self.binary = folder, binary

    def start(self):
        command = [self.binary, "--json", "registry", "--listen", "127.0.0.1:0", "--data", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        address = json.loads(self.process.stdout.readline())["address"]
        self.port = int(address.rsplit(":", 1)[1])
        self.password = pathlib.Path(self.folder, "admin.token").read_text().strip()


class Theirs:
    title = "docker-registry 2.8.2"

    def __init__(self, folder, binary):
        self.folder, self.binary, self.password = folder, binary, None
        self.port = 5987

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        config = pathlib.Path(self.folder, "config.yml")
        config.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.folder}/data}}}}\n"
            f"http: {{addr: '127.0.0.1:{self.port}'}}\n"
        )
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen([self.binary, "serve", config], stdout=quiet, stderr=quiet)


def started(server):
    """Milliseconds until it answers."""
    begun = time.monotonic()
    server.start()
    while True:
        try:
            Client(server.port, server.password).ask("GET", "/v2/")
            return (time.monotonic() - begun) * 1000
        except OSError:
            time.sleep(0.002)


def stop(server):
    server.process.send_signal(signal.SIGTERM)
    server.process.wait()


def resident(server):
    """MiB."""
    for line in pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure(server, packages, clients):
    few = min(10, packages)
    sample = min(packages, 2000)
    make = lambda: Client(server.port, server.password)
    pull = lambda among: lambda client, turn: client.pull(name(turn * 7919 % among))
    result = {"start, empty (ms)": started(server)}
    result[f"pushes/s, the first {few}"] = rate(few, 1, make, lambda client, turn: client.push(name(turn), turn))
    result[f"pulls/s among {few}"] = rate(sample, clients, make, pull(few))
    result["RSS then (MiB)"] = resident(server)
    result[f"pushes/s, {clients} at once"] = rate(
        packages - few, clients, make, lambda client, turn: client.push(name(turn + few), turn + few)
    )
    last = packages
    result[f"pushes/s, {few} more"] = rate(few, 1, make, lambda client, turn: client.push(name(last + turn), last + turn))
    result[f"pulls/s among {packages}"] = rate(sample, clients, make, pull(packages))
    result["RSS with all (MiB)"] = resident(server)
    stop(server)
    result["start with all (ms)"] = started(server)
    result[f"pulls/s among {packages}, started anew"] = rate(sample, clients, make, pull(packages))
    result["RSS after (MiB)"] = resident(server)
    stop(server)
    return result


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--packages", type=int, default=10_000)
    arguments.add_argument("--clients", type=int, default=4)
    arguments.add_argument("--binary", default="target/release/fermion")
    arguments = arguments.parse_args()
    folder = tempfile.mkdtemp(prefix="bench-registry-")
    try:
        servers = [Ours(f"{folder}/ours", arguments.binary)]
        peer = shutil.which("docker-registry")
        if peer:
            servers.append(Theirs(f"{folder}/theirs", peer))
        else:
            print("docker-registry is not installed: measured without it", file=sys.stderr)
        results = []
        for server in servers:
            try:
                results.append((server.title, measure(server, arguments.packages, arguments.clients)))
            finally:
                if server.process.poll() is None:
                    server.process.kill()
        titles = [title for title, _ in results]
        print("| " + " | ".join([f"{arguments.packages} packages of 100 KiB", *titles]) + " |")
        print("|---" * (len(titles) + 1) + "|")
        for row in results[0][1]:
            print("| " + " | ".join([row, *(f"{result[row]:.0f}" for _, result in results)]) + " |")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
