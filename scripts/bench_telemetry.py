#!/usr/bin/env python3
"""What telemetry costs: `fermion up` with everything on beside `--telemetry off`, in alternating rounds.

Usage: bench_telemetry.py [--rounds N] [--seconds S] [--windows W] [--connections C] [--share P]
Requests/s and CPU time are those of a closed loop at full load; p50 and p99 those of an open loop at a share of what the
silent server can do, the middle one of several seconds, since a shared machine stands still for some milliseconds now and
then and a p99 over all of them would measure that. With the receiver away the node is killed (-9) between the two loops and
started again; at the end the receiver comes back, and what waited on disk must arrive.
"""
import argparse, os, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time

from measure import platform
from measure.server import LOAD_CORE, SERVE_CORE, free_port

CAP = 256 << 20
PATH = "/bench/"


class Receiver:
    def __init__(self, port):
        self.port, self.process = port, None

    def start(self):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "measure", "receiver.py")
        # It would be on another machine: here it takes what the client leaves.
        argv = ["nice", "-n", "19", "taskset", "-c", LOAD_CORE, sys.executable, script, str(self.port)]
        self.process = subprocess.Popen(argv)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class Disk(threading.Thread):
    """The most that a folder held while this ran."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.most, self.over = folder, 0, False
        self.start()

    def run(self):
        while not self.over:
            try:
                self.most = max(self.most, sum(f.stat().st_size for f in os.scandir(self.folder)))
            except OSError:
                pass
            time.sleep(0.05)

    def end(self):
        self.over = True
        self.join()
        return self.most


def server(name, work, more):
    folder = platform.project(work, "bench", "p2-hello")
    return platform.up(name, [folder], PATH, cores=SERVE_CORE, more=more)


def kinds(work, port):
    full = ["--access-log", os.path.join(work, "access.log"), "--otlp", f"http://127.0.0.1:{port}",
            "--telemetry-buffer", f"{CAP >> 20}MiB"]
    return [("off", ["--telemetry", "off"]), ("metrics and objectives", []), ("everything, receiver there", full),
            ("everything, receiver away, killed once", full)]


def closed(one, options):
    """Requests/s and server CPU us a request."""
    cpu = one.cpu_seconds()
    rate, *_ = one.wrk(options.seconds, options.connections)
    return rate, (one.cpu_seconds() - cpu) / (rate * options.seconds) * 1e6


def measure(one, work, options, rate, kill):
    folder = os.path.join(work, "run-" + "".join(c for c in one.name if c.isalnum()))
    os.makedirs(folder, exist_ok=True)
    one.start(folder)
    one.wrk(1, options.connections)
    found, cpu = closed(one, options)
    if kill:
        one.process.send_signal(signal.SIGKILL)
        one.process.wait()
        one.start(folder)
        one.wrk(1, options.connections)
    rate = rate or found * options.share
    windows = [window(one, options, rate) for _ in range(options.windows)]
    middle = lambda key: statistics.median(window[key] for window in windows)
    return {"rate": found, "cpu": cpu, "p50": middle("p50_us"), "p99": middle("p99_us")}


def account(one, receiver, disk):
    """Everything that waits is sent once the receiver is there; says what became of it."""
    def read():
        samples = platform.metrics(one)
        return [platform.total(samples, f"fermion_telemetry_{n}") for n in ("buffer_items", "sent_total", "dropped_total")]
    before = read()
    receiver.start()
    deadline = time.time() + 120
    while (now := read())[0] > 0 and time.time() < deadline:
        time.sleep(0.2)
    receiver.stop()
    print(f"  receiver away: {before[0]:.0f} items waited; then {now[1] - before[1]:.0f} were sent, {now[0]:.0f} wait, "
          f"{now[2]:.0f} dropped in all; {disk / 2**20:.1f} MiB on disk at most of {CAP / 2**20:.0f}", file=sys.stderr)
    if disk > CAP:
        sys.exit("the buffer passed its cap")


def comes_and_goes(options, work, rate):
    """One node under a steady load while its receiver comes and goes: p99 of each second by which it was."""
    port = free_port()
    receiver = Receiver(port)
    one = server("comes and goes", work, dict(kinds(work, port))["everything, receiver there"])
    os.makedirs(folder := os.path.join(work, "run-comes-and-goes"), exist_ok=True)
    found = {"there": [], "away": []}
    try:
        one.start(folder)
        one.wrk(1, options.connections)
        for _ in range(options.rounds):
            for state, p99s in found.items():
                if state == "there":
                    receiver.start()
                    answers(port)
                p99s += [window(one, options, rate)["p99_us"] for _ in range(options.windows)]
                receiver.stop()
    finally:
        one.stop()
        receiver.stop()
    return found


def answers(port):
    """Waits until somebody listens."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)


def window(one, options, rate):
    """A second of the open loop."""
    return one.load("open", 1, f"it:{rate:.0f}:{options.connections}:{PATH}")["it"]["outcomes"]["200"]["due"]


def run(options, work):
    port, figures, rate = free_port(), {}, None
    receiver = Receiver(port)
    for number in range(options.rounds):
        for name, more in kinds(work, port):
            away = "away" in name
            if "there" in name:
                receiver.start()
            one = server(name, work, more)
            disk = Disk(os.path.join(work, "run-" + "".join(c for c in name if c.isalnum()), "data", "telemetry"))
            try:
                found = measure(one, work, options, rate, away)
                rate = rate or found["rate"] * options.share
                most = disk.end()
                if away:
                    account(one, receiver, most)
            finally:
                disk.over = True
                one.stop()
                receiver.stop()
                # Else the disk writes the log of one round while the next is measured.
                if os.path.exists(log := os.path.join(work, "access.log")):
                    os.remove(log)
            figures.setdefault(name, []).append(found)
            off = figures["off"][-1]
            found.update({k + "_share": found[k] / off[k] for k in ("rate", "cpu", "p50", "p99")})
            print(f"round {number + 1}: {name:40} {found['rate']:9.0f}/s {found['cpu']:7.1f} us  p99 {found['p99']} us", file=sys.stderr)
    return figures, rate, comes_and_goes(options, work, rate)


def report(figures, rate, toggled, options):
    value = lambda name, key: statistics.median(f[key] for f in figures[name])
    print(f"{options.rounds} rounds of {options.seconds} s, {options.connections} connections, one serving core; p50 and p99 at "
          f"{rate:.0f} requests/s\n")
    print("| telemetry | requests/s | to off | server CPU us a request | to off | p50 us | p99 us | to off |")
    print("|---|---|---|---|---|---|---|---|")
    for name in figures:
        print(f"| {name} | {value(name, 'rate'):.0f} | {value(name, 'rate_share'):.3f} | {value(name, 'cpu'):.1f} "
              f"| {value(name, 'cpu_share'):.3f} | {value(name, 'p50'):.0f} | {value(name, 'p99'):.0f} "
              f"| {value(name, 'p99_share'):.3f} |")
    there, away = (statistics.quantiles(toggled[state], n=4) for state in ("there", "away"))
    print(f"\nOne node whose receiver comes and goes, {len(toggled['there'])} seconds each: p99 {there[1]:.0f} us with it "
          f"(middle half {there[0]:.0f} to {there[2]:.0f}), {away[1]:.0f} us without ({away[0]:.0f} to {away[2]:.0f}); "
          f"ratio {away[1] / there[1]:.3f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seconds", type=int, default=5)
    p.add_argument("--windows", type=int, default=5, help="seconds of the open loop, each by itself")
    p.add_argument("--connections", type=int, default=50)
    p.add_argument("--share", type=float, default=0.5, help="of the silent server's requests/s, for p50 and p99")
    options = p.parse_args()
    work = tempfile.mkdtemp(prefix="fermion-telemetry-")
    try:
        report(*run(options, work), options)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
