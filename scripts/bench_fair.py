#!/usr/bin/env python3
"""What one app's flood, loops and memory do to another, and what a load beyond capacity does to the one that gets it.
Open loops: requests are due at a rate whatever the server does.

Usage: bench_fair.py [--seconds S] [--threads T] [--only neighbours|overload]
"""
import argparse, json, resource, shutil, tempfile, threading, time

from measure import platform
from measure.server import SERVE_CORE

# Two quiet apps: one that answers at once, and one whose answer takes the guest a while of computing.
QUIET = [("quick", 200, 32, "/quiet/hello"), ("working", 50, 32, "/quiet/alloc/2")]
# What the other app does meanwhile: requests a second, connections, path.
NOISES = [
    ("nothing", None),
    ("a flood of hello", (60_000, 200, "/noisy/hello")),
    ("a flood of computing", (6_000, 200, "/noisy/alloc/2")),
    ("loops in every instance", (1_000, 400, "/noisy/loop")),
    ("loops in every instance, 0.3", (1_000, 400, "/noisy3/loop")),
    ("memory without end", (1_000, 200, "/noisy/alloc")),
    ("bodies that nobody ends", (1_000, 400, "/noisy/hang-after-body")),
]
# A guest that computes, and one that waits.
LOADS = [("computing", "/noisy/alloc/2"), ("waiting 20 ms", "/noisy/sleep/20")]
NONE = {"count": 0, "due": {"p50_us": 0, "p99_us": 0, "max_us": 0}, "sent": {"p50_us": 0, "p99_us": 0, "max_us": 0}}


def start(options, work):
    folders = [platform.project(work, name, component)
               for name, component in (("quiet", "p2-edge"), ("noisy", "p2-edge"), ("noisy3", "p3-edge"))]
    cores = SERVE_CORE if options.threads == 1 else ",".join(str(n) for n in range(options.threads))
    return platform.up("fair", folders, "/quiet/hello", options.threads, cores).start(work)


class Peak(threading.Thread):
    """The most memory that a server had while this ran."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.most, self.over = server, 0, False

    def run(self):
        while not self.over:
            self.most = max(self.most, self.server.rss_mib())
            time.sleep(0.05)

    def end(self):
        self.over = True
        self.join()
        return self.most


def neighbours(options, work):
    print(f"Quiet apps beside a noisy one, {options.threads} serving thread(s), {options.seconds} s each. `rise` is what the noise "
          "adds to p99, in the\nquiet app's own service times (its p50 alone)\n")
    print("| the noisy app does | quick p50 us | p99 us | rise | errors | working p50 us | p99 us | rise | errors "
          "| noisy answers/s | RSS MiB, most |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    alone = {}
    for word, noise in NOISES:
        server = start(options, work)
        try:
            targets = [f"{name}:{rate}:{connections}:{path}" for name, rate, connections, path in QUIET]
            server.load("open", 1, *targets)
            peak = Peak(server)
            peak.start()
            # The noise has a process of its own, and the quiet clients go before it: its work must not delay their clock.
            loud = server.begin_load("open", options.seconds + 2, f"noisy:{noise[0]}:{noise[1]}:{noise[2]}") if noise else None
            time.sleep(1)
            quiet = server.load("open", options.seconds, *targets, first=True)
            cells = []
            for name, *_ in QUIET:
                good = quiet[name]["outcomes"].get("200", NONE)
                p50, p99 = good["due"]["p50_us"], good["due"]["p99_us"]
                alone.setdefault(name, (p50, p99))
                rise = (p99 - alone[name][1]) / max(alone[name][0], 1)
                errors = quiet[name]["offered"] - good["count"]
                cells += [str(p50), str(p99), f"{rise:.1f}", str(errors)]
            answered = "-"
            if loud:
                outcomes = json.loads(loud.communicate()[0])["noisy"]["outcomes"]
                answered = ", ".join(f"{k}: {v['count'] / (options.seconds + 2):.0f}" for k, v in sorted(outcomes.items()))
            print(f"| {word} | {' | '.join(cells)} | {answered} | {peak.end():.0f} |", flush=True)
        finally:
            server.stop()


def overload(options, work):
    print(f"\nOne app beyond its capacity, {options.threads} serving thread(s), {options.seconds} s at each rate; times from when "
          "the request was sent\n")
    print("| guest | offered, times capacity | offered/s | good/s | share of the most | accepted p50 ms | p99 ms | 503/s "
          "| 503 p50 ms | p99 ms | other | unsent | RSS MiB before, most |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for word, path in LOADS:
        server = start(options, work)
        try:
            server.wrk(1, 128, path)
            capacity, *_ = server.wrk(options.seconds, 128, path)
            rows = []
            for times in (0.8, 1, 2, 3):
                before, peak = server.rss_mib(), Peak(server)
                peak.start()
                found = server.load("open", options.seconds, f"it:{capacity * times:.0f}:2000:{path}")["it"]
                rows.append((times, found, before, peak.end()))
            good = lambda found: found["outcomes"].get("200", NONE)
            most = max(good(found)["count"] for _, found, *_ in rows) or 1
            for times, found, before, memory in rows:
                fine, shed = good(found), found["outcomes"].get("503", NONE)
                others = {k: v["count"] for k, v in found["outcomes"].items() if k not in ("200", "503")}
                ms = lambda figures, key: f"{figures['sent'][key] / 1e3:.1f}"
                rate = lambda count: f"{count / found['seconds']:.0f}"
                print(f"| {word} | {times} | {rate(found['offered'])} | {rate(fine['count'])} | {fine['count'] / most:.2f} "
                      f"| {ms(fine, 'p50_us')} | {ms(fine, 'p99_us')} | {rate(shed['count'])} | {ms(shed, 'p50_us')} "
                      f"| {ms(shed, 'p99_us')} | {others or 0} | {found['unsent']} | {before:.0f}, {memory:.0f} |", flush=True)
        finally:
            server.stop()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=int, default=8)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--only", choices=["neighbours", "overload"])
    options = p.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    work = tempfile.mkdtemp(prefix="fermion-fair-")
    try:
        for name, part in (("neighbours", neighbours), ("overload", overload)):
            if options.only in (None, name):
                part(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
