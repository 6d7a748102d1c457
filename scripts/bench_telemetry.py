#!/usr/bin/env python3
"""What telemetry costs: `fermion up` with everything on beside `--telemetry off`. All of them run at once on one core and
take turns under load, a few seconds each in an order that changes, so that what the machine does to one it does to all.

Usage: bench_telemetry.py [--rounds N] [--seconds S] [--windows W] [--connections C] [--share P]
Requests/s and CPU time are those of a closed loop at full load; p50 and p99 those of an open loop at a share of what the
silent server can do, the middle one of single seconds, since a shared machine stands still for some milliseconds now and
then and a p99 over all of them would measure that. Every third round they are started anew, as processes of the same
program differ by some hundredths; the one without a receiver is killed (-9) then. At the end its receiver comes, and what
waited on disk must arrive.
"""
import argparse, os, random, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time

from measure import platform
from measure.server import LOAD_CORE, SERVE_CORE, free_port

CAP = 256 << 20
PATH = "/bench/"
AWAY = "everything, receiver away, killed now and then"


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


def everything(port):
    return ["--access-log", "{work}/access.log", "--otlp", f"http://127.0.0.1:{port}", "--telemetry-buffer", f"{CAP >> 20}MiB"]


def start(name, work, more):
    folder = platform.project(work, "bench", "p2-hello")
    one = platform.up(name, [folder], PATH, cores=SERVE_CORE, more=more)
    own = os.path.join(work, "run-" + re.sub(r"\W+", "-", name))
    os.makedirs(own)
    return one.start(own)


def closed(one, options):
    """Requests/s and server CPU us a request."""
    cpu = one.cpu_seconds()
    rate, *_ = one.wrk(options.seconds, options.connections)
    return {"rate": rate, "cpu": (one.cpu_seconds() - cpu) / (rate * options.seconds) * 1e6}


def again(one, options):
    """Started anew, with what it had on disk; the one without a receiver after it was killed."""
    if one.name == AWAY:
        one.process.send_signal(signal.SIGKILL)
        one.process.wait()
    one.stop()
    one.start(one.work)
    one.wrk(1, options.connections)


def forget_log(one):
    """Else the disk writes the log of one server while the next is measured."""
    if os.path.exists(log := os.path.join(one.work, "access.log")):
        os.truncate(log, 0)


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
    receiver, found = Receiver(port), {"there": [], "away": []}
    one = start("comes and goes", work, everything(port))
    try:
        one.wrk(1, options.connections)
        for _ in range(options.rounds):
            for state, p99s in found.items():
                if state == "there":
                    receiver.start()
                    answers(port)
                p99s += [window(one, options, rate)["p99_us"] for _ in range(options.windows)]
                receiver.stop()
            forget_log(one)
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
    there, away = Receiver(free_port()), Receiver(free_port())
    kinds = {"off": ["--telemetry", "off"], "metrics and objectives": [], "everything, receiver there": everything(there.port),
             AWAY: everything(away.port)}
    there.start()
    servers = [start(name, work, more) for name, more in kinds.items()]
    disk = Disk(os.path.join(servers[-1].work, "data", "telemetry"))
    figures, rate = {name: [] for name in kinds}, None
    try:
        for one in servers:
            one.wrk(1, options.connections)
        for number in range(options.rounds):
            if number and number % 3 == 0:
                for one in servers:
                    again(one, options)
            for one in random.sample(servers, len(servers)):
                figures[one.name].append(closed(one, options))
                forget_log(one)
            rate = rate or figures["off"][0]["rate"] * options.share
            for one in random.sample(servers, len(servers)):
                p50, p99 = (window(one, options, rate)[key] for key in ("p50_us", "p99_us"))
                figures[one.name][-1].update(p50=p50, p99=p99)
            off = figures["off"][-1]
            for found in (figures[name][-1] for name in kinds):
                found.update({key + "_share": found[key] / off[key] for key in ("rate", "cpu", "p50", "p99")})
            print(f"round {number + 1}: " + ", ".join(f"{figures[name][-1]['rate']:.0f}" for name in kinds), file=sys.stderr)
        account(servers[-1], away, disk.end())
    finally:
        disk.over = True
        for one in servers:
            one.stop()
        there.stop()
    return figures, rate, comes_and_goes(options, work, rate)


def report(figures, rate, toggled, options):
    middle = lambda found, key: statistics.median(f[key] for f in found)
    print(f"{options.rounds} rounds of {options.seconds} s, {options.connections} connections, one serving core; p50 and p99 at "
          f"{rate:.0f} requests/s\n")
    print("| telemetry | requests/s | to off | middle half | server CPU us a request | to off | p50 us | p99 us | to off |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, found in figures.items():
        low, _, high = statistics.quantiles((f["rate_share"] for f in found), n=4)
        print(f"| {name} | {middle(found, 'rate'):.0f} | {middle(found, 'rate_share'):.3f} | {low:.3f} to {high:.3f} "
              f"| {middle(found, 'cpu'):.1f} | {middle(found, 'cpu_share'):.3f} | {middle(found, 'p50'):.0f} "
              f"| {middle(found, 'p99'):.0f} | {middle(found, 'p99_share'):.3f} |")
    there, away = (statistics.quantiles(toggled[state], n=4) for state in ("there", "away"))
    print(f"\nOne node whose receiver comes and goes, {len(toggled['there'])} seconds each: p99 {there[1]:.0f} us with it "
          f"(middle half {there[0]:.0f} to {there[2]:.0f}), {away[1]:.0f} us without ({away[0]:.0f} to {away[2]:.0f}); "
          f"ratio {away[1] / there[1]:.3f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=20)
    p.add_argument("--seconds", type=int, default=2)
    p.add_argument("--windows", type=int, default=2, help="seconds of the open loop for each state of the receiver, each by itself")
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
