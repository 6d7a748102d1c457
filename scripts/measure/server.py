"""A server under measurement: started on the serving cores, asked, loaded, weighed and stopped."""
import json, os, re, shutil, signal, socket, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RELEASE = os.environ.get("FERMION_BUILT", os.path.join(ROOT, "target", "release"))
FERMION = os.path.join(RELEASE, "fermion")
NATIVE = os.path.join(RELEASE, "examples", "native")
LOAD = os.path.join(RELEASE, "examples", "load")
GUESTS = os.path.join(ROOT, "target", "guests")
PEERS = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "fermion", "peers", "bin")
SERVE_CORE, LOAD_CORE = "0", "1"
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def peer(name):
    return shutil.which(name, path=PEERS + os.pathsep + os.environ["PATH"])


def guest(name):
    return os.path.join(GUESTS, name + ".wasm")


def ask(port, path, method="GET", host="localhost", body=b"", timeout=30, headers=()):
    """One request on a connection of its own. Gives status, head and body."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "connection: close", *headers]
    if body:
        lines.append(f"content-length: {len(body)}")
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall("\r\n".join(lines + ["", ""]).encode() + body)
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    head, _, content = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]) if len(words) > 1 else 0), head.decode("latin-1"), content


class Server:
    """`{port}`, `{admin}` and `{work}` in the command are filled in at each start."""

    def __init__(self, name, command, path="/", cores=SERVE_CORE):
        self.name, self.command, self.path, self.cores = name, command, path, cores
        self.process = None

    def start(self, work, patience=120):
        self.port, self.admin, self.work = free_port(), free_port(), work
        argv = [a.format(port=self.port, admin=self.admin, work=work) for a in self.command]
        env = {k: v for k, v in os.environ.items() if k != "RUST_BACKTRACE"}
        log = open(os.path.join(work, re.sub(r"[^a-z0-9.]+", "-", self.name.lower()) + ".log"), "a")
        self.began = time.perf_counter()
        self.process = subprocess.Popen(["taskset", "-c", self.cores] + argv, stdout=log, stderr=log, env=env, cwd=work)
        self.first = self.wait(patience)
        return self

    def wait(self, patience):
        """Seconds from exec to the first answer of 200."""
        while time.perf_counter() < self.began + patience:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with status {self.process.returncode}; its log is in {self.work}")
            try:
                if ask(self.port, self.path, timeout=10)[0] == 200:
                    return time.perf_counter() - self.began
            except OSError:
                pass
            time.sleep(0.0005)
        raise RuntimeError(f"{self.name} did not answer 200 on {self.path}")

    def wrk(self, seconds, connections, path=None):
        """Requests a second, p50 and p99 in microseconds, failed answers."""
        out = subprocess.run(
            ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
             f"http://127.0.0.1:{self.port}{path or self.path}"], capture_output=True, text=True, check=True).stdout
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
        errors = re.search(r"Socket errors: (.*)", out)
        if failed or errors:
            print(f"  {self.name}: {failed[0] if failed else ''} {errors[0] if errors else ''}", file=sys.stderr)
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
        return rate, micros(out, "50%"), micros(out, "99%")

    def load(self, *words, cores=LOAD_CORE, first=False):
        """What the client that comes with the repository reports."""
        return json.loads(self.begin_load(*words, cores=cores, first=first).communicate()[0])

    def begin_load(self, mode, *words, cores=LOAD_CORE, first=False):
        """A client that goes `first` waits for no other one on its core, as if it had one of its own."""
        argv = ["taskset", "-c", cores, LOAD, mode, f"127.0.0.1:{self.port}", *map(str, words)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, preexec_fn=go_first if first else None)

    def cpu_seconds(self):
        """User and system time that the process has used."""
        fields = open(f"/proc/{self.process.pid}/stat").read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rss_mib(self, key="VmRSS"):
        total = 0
        for pid in [self.process.pid] + children(self.process.pid):
            try:
                total += int(re.search(key + r":\s+(\d+)", open(f"/proc/{pid}/status").read())[1])
            except (OSError, TypeError):
                pass
        return total / 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def go_first():
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        print("the client may not go first: its times are those of a shared core", file=sys.stderr)


def children(pid):
    try:
        return [int(p) for p in open(f"/proc/{pid}/task/{pid}/children").read().split()]
    except OSError:
        return []


def micros(out, percentile):
    value, unit = re.search(re.escape(percentile) + r"\s+([\d.]+)(us|ms|s)", out).groups()
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]
