#!/usr/bin/env python3
"""The side-by-side benchmark: one serving core, one load core, alternating rounds, medians, ratios to a native server.

Usage: bench.py [--rounds N] [--seconds S] [--connections C] [--only NAME ...]
Servers that are not installed are left out. Figures are ratios within one run; absolute ones move from machine to
machine and are printed only so that the ratios can be checked.
"""
import argparse, json, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RELEASE = os.path.join(ROOT, "target", "release")
FERMION = os.path.join(RELEASE, "fermion")
GUESTS = os.path.join(ROOT, "target", "guests")
PEERS = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "fermion", "peers", "bin")
SERVE_CORE, LOAD_CORE = "0", "1"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def peer(name):
    return shutil.which(name, path=PEERS + os.pathsep + os.environ["PATH"])


class Server:
    def __init__(self, name, command, path="/", env=None):
        self.name, self.command, self.path, self.env = name, command, path, env or {}

    def start(self, work):
        port = free_port()
        self.port = port
        argv = [a.format(port=port, admin=free_port(), work=work) for a in self.command]
        env = {k: v for k, v in os.environ.items() if k != "RUST_BACKTRACE"}
        env.update(self.env)
        log = open(os.path.join(work, self.name.replace(" ", "-").replace("/", "-") + ".log"), "a")
        self.began = time.perf_counter()
        self.process = subprocess.Popen(["taskset", "-c", SERVE_CORE] + argv, stdout=log, stderr=log, env=env, cwd=work)
        self.first = self.wait()

    def wait(self):
        deadline = time.perf_counter() + 60
        request = f"GET {self.path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
        while time.perf_counter() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with status {self.process.returncode}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
                    s.sendall(request)
                    if b" 200 " in s.recv(4096).split(b"\r\n")[0]:
                        return time.perf_counter() - self.began
            except OSError:
                pass
            time.sleep(0.0005)
        raise RuntimeError(f"{self.name} did not answer 200 on {self.path}")

    def load(self, seconds, connections):
        out = subprocess.run(
            ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
             f"http://127.0.0.1:{self.port}{self.path}"], capture_output=True, text=True, check=True).stdout
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
        errors = re.search(r"Socket errors: (.*)", out)
        if failed or errors:
            print(f"  {self.name}: {failed[0] if failed else ''} {errors[0] if errors else ''}", file=sys.stderr)
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
        return rate, micros(out, "50%"), micros(out, "99%")

    def memory(self):
        total = 0
        for pid in [self.process.pid] + children(self.process.pid):
            try:
                total += int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read())[1])
            except (OSError, TypeError):
                pass
        return total / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def children(pid):
    try:
        return [int(p) for p in open(f"/proc/{pid}/task/{pid}/children").read().split()]
    except OSError:
        return []


def micros(out, percentile):
    value, unit = re.search(re.escape(percentile) + r"\s+([\d.]+)(us|ms|s)", out).groups()
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def project(work):
    """A folder whose build only copies the component that all servers run."""
    folder = os.path.join(work, "hello")
    os.makedirs(folder)
    with open(os.path.join(folder, "fermion.toml"), "w") as f:
        f.write('[package]\nname = "bench/hello"\nversion = "1.0.0"\ncomponent = "hello.wasm"\n'
                f'[build]\ncommand = "cp {GUESTS}/p2-hello.wasm hello.wasm"\n')
    return folder


def servers(work):
    serve = lambda wasm: [FERMION, "serve", os.path.join(GUESTS, wasm), "--listen", "127.0.0.1:{port}", "--threads", "1"]
    found = [
        Server("native hyper", [os.path.join(RELEASE, "examples", "native"), "127.0.0.1:{port}"]),
        Server("fermion serve, 0.2", serve("p2-hello.wasm")),
        Server("fermion serve, 0.3", serve("p3-hello.wasm")),
        Server("fermion up, 0.2", [FERMION, "up", project(work), "--data", "{work}/data", "--listen", "127.0.0.1:{port}",
                                   "--admin", "127.0.0.1:{admin}", "--threads", "1"], path="/hello/"),
    ]
    if wasmtime := peer("wasmtime"):
        run = [wasmtime, "serve", "-Scli", "--addr", "127.0.0.1:{port}"]
        tuned = ["-Opooling-allocator", "-Opooling-memory-keep-resident=1048576", "-Opooling-table-keep-resident=65536"]
        found += [
            Server("wasmtime serve, 0.2", run + [os.path.join(GUESTS, "p2-hello.wasm")]),
            Server("wasmtime serve, 0.2, pooling", run + tuned + [os.path.join(GUESTS, "p2-hello.wasm")]),
            Server("wasmtime serve, 0.3", run + [os.path.join(GUESTS, "p3-hello.wasm")]),
        ]
    if spin := peer("spin"):
        manifest = os.path.join(work, "spin.toml")
        with open(manifest, "w") as f:
            f.write('spin_manifest_version = 2\n[application]\nname = "hello"\n[[trigger.http]]\nroute = "/..."\n'
                    f'component = "hello"\n[component.hello]\nsource = "{GUESTS}/p2-hello.wasm"\n')
        found.append(Server("spin up, 0.2", [spin, "up", "-f", manifest, "--listen", "127.0.0.1:{port}"]))
    if workerd := peer("workerd"):
        found.append(workerd_server(workerd, work))
    return found


def workerd_server(workerd, work):
    with open(os.path.join(work, "hello.js"), "w") as f:
        f.write('export default { fetch() { return new Response("Hello, world!\\n"); } };\n')
    with open(os.path.join(work, "workerd.capnp"), "w") as f:
        f.write('using Workerd = import "/workerd/workerd.capnp";\nconst config :Workerd.Config = (services = '
                '[(name = "main", worker = (modules = [(name = "hello.js", esModule = embed "hello.js")], '
                'compatibilityDate = "2026-01-01"))], sockets = [(name = "http", address = "127.0.0.1:0", http = (), '
                'service = "main")]);\n')
    return Server("workerd, JavaScript", [workerd, "serve", os.path.join(work, "workerd.capnp"), "--socket-addr",
                                          "http=127.0.0.1:{port}"])


def instantiate_micros(server, work):
    """The mean of the host's own instantiate histogram, from the platform's metrics."""
    admin = next(a for a in server.process.args if a.startswith("127.0.0.1:") and a != f"127.0.0.1:{server.port}")
    token = open(os.path.join(work, "data", "admin.token")).read().strip()
    host, port = admin.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as s:
        s.sendall(f"GET /metrics HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n".encode())
        text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
    phase = 'fermion_request_duration_seconds_{}{{[^}}]*phase="instantiate"[^}}]*}} ([\\d.e+-]+)'
    total, count = (float(re.search(phase.format(k), text)[1]) for k in ("sum", "count"))
    return total / count * 1e6


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--connections", type=int, default=50)
    p.add_argument("--only", nargs="*", default=[])
    a = p.parse_args()
    work = tempfile.mkdtemp(prefix="fermion-bench-")
    every = [s for s in servers(work) if not a.only or s.name == "native hyper" or s.name in a.only]
    figures = {s.name: {"rate": [], "ratio": [], "p50": [], "p99": [], "rss": [], "first": []} for s in every}
    instantiate = []
    try:
        for number in range(a.rounds):
            ceiling = None
            for server in every:
                server.start(work)
                server.load(1, a.connections)
                rate, p50, p99 = server.load(a.seconds, a.connections)
                ceiling = ceiling or rate
                f = figures[server.name]
                # The first start compiles; what counts is a start that finds its code.
                for key, value in (("rate", rate), ("ratio", rate / ceiling), ("p50", p50), ("p99", p99),
                                   ("rss", server.memory()), ("first", server.first * 1e3 if number else None)):
                    if value is not None:
                        f[key].append(value)
                if server.name.startswith("fermion up"):
                    instantiate.append(instantiate_micros(server, work))
                server.stop()
                print(f"round {number + 1}: {server.name:32} {rate:10.0f}/s  {rate / ceiling:.3f}", file=sys.stderr)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    median = lambda values: statistics.median(values) if values else float("nan")
    print(f"\n{a.rounds} rounds of {a.seconds} s, {a.connections} connections, one serving core\n")
    print("| server | requests/s | ratio to native | p50 us | p99 us | p99/p50 | RSS MiB | exec to first answer ms |")
    print("|---|---|---|---|---|---|---|---|")
    for server in every:
        f = {k: median(v) for k, v in figures[server.name].items()}
        print(f"| {server.name} | {f['rate']:.0f} | {f['ratio']:.3f} | {f['p50']:.0f} | {f['p99']:.0f} | "
              f"{f['p99'] / f['p50']:.1f} | {f['rss']:.0f} | {f['first']:.1f} |")
    if instantiate:
        print(f"\ninstantiation of the 0.2 hello, mean by the host's histogram: {median(instantiate):.1f} us")
    base = median(figures.get("wasmtime serve, 0.2", {}).get("ratio", []))
    ours = median(figures.get("fermion serve, 0.2", {}).get("ratio", []))
    if base == base and ours == ours:
        print(f"fermion serve to wasmtime serve, fresh instance a request: {ours / base:.2f} times")


if __name__ == "__main__":
    main()
