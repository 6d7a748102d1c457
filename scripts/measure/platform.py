"""`fermion up` under measurement: projects that only copy a component, its token, its metrics."""
import os, re

from .server import FERMION, Server, ask, guest


def project(work, name, component, version="1.0.0", sections=""):
    """A folder whose build only copies a component that is already built."""
    folder = os.path.join(work, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "fermion.toml"), "w") as f:
        f.write(f'[package]\nname = "bench/{name}"\nversion = "{version}"\ncomponent = "app.wasm"\n'
                f'[build]\ncommand = "cp {guest(component)} app.wasm"\n{sections}')
    return folder


def up(name, folders, path, threads=1, cores=None, more=()):
    command = [FERMION, "up", *folders, "--data", "{work}/data", "--listen", "127.0.0.1:{port}",
               "--admin", "127.0.0.1:{admin}", "--threads", str(threads), *more]
    return Server(name, command, path, **({"cores": cores} if cores else {}))


def serve(name, component, path="/", threads=1, cores=None, more=()):
    command = [FERMION, "serve", guest(component), "--listen", "127.0.0.1:{port}", "--threads", str(threads), *more]
    return Server(name, command, path, **({"cores": cores} if cores else {}))


def metrics(server):
    """Samples of a running platform: {(name, frozenset of labels): value}."""
    token = open(os.path.join(server.work, "data", "admin.token")).read().strip()
    _, _, text = ask(server.admin, "/metrics", headers=[f"authorization: Bearer {token}"])
    samples = {}
    for line in text.decode().splitlines():
        if found := re.match(r"(\w+)(?:\{(.*)\})? ([^ ]+)", line):
            labels = frozenset(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
            samples[found[1], labels] = float(found[3])
    return samples


def total(samples, name, **labels):
    """The sum over all series of a name that have these labels."""
    wanted = set(labels.items())
    return sum(v for (n, found), v in samples.items() if n == name and wanted <= found)


def quantiles(samples, phase, shares, before=None):
    """Microseconds below which these shares of a phase's times lie: the bucket's upper bound, interpolated."""
    name = "fermion_request_duration_seconds_bucket"
    counts = {}
    for (n, labels), value in samples.items():
        labels = dict(labels)
        if n == name and labels.get("phase") == phase:
            bound = float(labels["le"].replace("+Inf", "inf"))
            counts[bound] = counts.get(bound, 0) + value - (before or {}).get((n, frozenset(labels.items())), 0)
    bounds, result = sorted(counts), []
    for share in shares:
        wanted, low, below = counts[bounds[-1]] * share, 0.0, 0
        for bound in bounds:
            if counts[bound] >= wanted:
                inside = counts[bound] - below
                part = (wanted - below) / inside if inside else 1
                result.append((low if bound == float("inf") else low + (bound - low) * part) * 1e6)
                break
            low, below = bound, counts[bound]
    return result
