#!/usr/bin/env python3
"""The side-by-side benchmark: one serving core, one load core, alternating rounds, medians, ratios to a native server.

Usage: bench.py [--rounds N] [--seconds S] [--connections C] [--only NAME...] [--list]
Servers that are not installed are left out. Figures are ratios within one run; absolute ones move from machine to
machine and are printed only so that the ratios can be checked.
"""
import argparse, os, shutil, statistics, sys, tempfile

from measure import platform, table
from measure.server import SERVE_CORE


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else float("nan")


def measure(server, work, seconds, connections, is_first):
    """One round of one server. The data directory of `up` is its own, so that nobody starts with another's apps."""
    server.start(own(work, server))
    try:
        server.wrk(1, connections)
        cpu = server.cpu_seconds()
        rate, p50, p99 = server.wrk(seconds, connections)
        cpu = server.cpu_seconds() - cpu
        figures = {"rate": rate, "p50": p50, "p99": p99, "rss": server.rss_mib(), "cpu": cpu / (rate * seconds) * 1e6}
        # The first start compiles; what counts is a start that finds its code.
        figures["first"] = None if is_first else server.first * 1e3
        if server.name.startswith("fermion up"):
            figures.update(inside(server))
        return figures
    finally:
        server.stop()


def own(work, server):
    folder = os.path.join(work, "run-" + "".join(c for c in server.name if c.isalnum()))
    os.makedirs(folder, exist_ok=True)
    return folder


def inside(server):
    """What the platform's own metrics say: instantiation under load, then the first byte for one caller alone."""
    loaded = platform.metrics(server)
    p50, p99 = platform.quantiles(loaded, "instantiate", [0.5, 0.99])
    server.wrk(1, 1)
    first50, first99 = platform.quantiles(platform.metrics(server), "first_byte", [0.5, 0.99], before=loaded)
    return {"instantiate": p50, "instantiate99": p99, "alone": first50, "alone99": first99,
            "cold": platform.total(loaded, "fermion_cold_starts_total"),
            "warm": platform.total(loaded, "fermion_warm_starts_total")}


def threads(work, seconds, connections, rounds):
    """One and two serving threads over the same two cores, which the client shares: requests/s, and requests for a
    second of the server's own CPU time, which the client cannot distort."""
    rows = []
    for name, more in [("0.2", [])] + ([("0.2, reuse", ["--reuse", table.ENDLESS])] if table.offers_reuse() else []):
        figures = {1: [], 2: []}
        for _ in range(rounds):
            for count in (1, 2):
                cores = SERVE_CORE if count == 1 else "0,1"
                server = platform.serve(f"threads {count} {name}", "p2-hello", threads=count, cores=cores, more=more)
                server.start(own(work, server))
                server.wrk(1, connections)
                cpu = server.cpu_seconds()
                rate = server.wrk(seconds, connections)[0]
                figures[count].append((rate, rate * seconds / (server.cpu_seconds() - cpu)))
                server.stop()
        rate, each = ({c: median([f[i] for f in figures[c]]) for c in (1, 2)} for i in (0, 1))
        rows.append((name, rate[1], rate[2], rate[2] / rate[1], 2 * each[2] / each[1]))
    return rows


def report(names, figures, options):
    value = lambda name, key: median([f.get(key) for f in figures[name]])
    print(f"{options.rounds} rounds of {options.seconds} s, {options.connections} connections, one serving core\n")
    print("| server | requests/s | ratio to native | server CPU us a request | p50 us | p99 us | p99/p50 | RSS MiB "
          "| exec to first answer ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in names:
        print(f"| {name} | {value(name, 'rate'):.0f} | {value(name, 'ratio'):.3f} | {value(name, 'cpu'):.1f} "
              f"| {value(name, 'p50'):.0f} | {value(name, 'p99'):.0f} | {value(name, 'p99') / value(name, 'p50'):.1f} "
              f"| {value(name, 'rss'):.0f} | {value(name, 'first'):.1f} |")
    print("\nBy the platform's own metrics: making or taking the instance under that load; then from a request's head to "
          "its answer's head\nfor one caller alone\n")
    print("| server | instantiate p50 us | p99 us | first byte alone p50 us | p99 us | cold | warm |")
    print("|---|---|---|---|---|---|---|")
    for name in (n for n in names if n.startswith("fermion up")):
        print(f"| {name} | {value(name, 'instantiate'):.1f} | {value(name, 'instantiate99'):.1f} | {value(name, 'alone'):.0f} "
              f"| {value(name, 'alone99'):.0f} | {value(name, 'cold'):.0f} | {value(name, 'warm'):.0f} |")
    pairs = [("fermion serve, 0.2", "wasmtime serve, 0.2"), ("fermion up, 0.2, reuse", "wasmtime serve, 0.2"),
             ("fermion up, 0.3, reuse", "wasmtime serve, 0.3")]
    pairs += [(f"fermion up, {word}{more}", f"wasmtime serve, {word}") for word in ("JavaScript", "Python")
              for more in ("", ", reuse")]
    print()
    for one, other in pairs:
        if one in figures and other in figures:
            print(f"{one} to {other}: {value(one, 'rate') / value(other, 'rate'):.2f} times")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--connections", type=int, default=50)
    p.add_argument("--only", nargs="*", default=[], help="servers by name, beside the native one")
    p.add_argument("--list", action="store_true", help="the names")
    options = p.parse_args()
    work = tempfile.mkdtemp(prefix="fermion-bench-")
    try:
        every = [s for s in table.servers(work) if not options.only or s.name == "native hyper" or s.name in options.only]
        if options.list:
            return print("\n".join(s.name for s in every))
        figures = {s.name: [] for s in every}
        for number in range(options.rounds):
            for server in every:
                try:
                    found = measure(server, work, options.seconds, options.connections, number == 0)
                except (RuntimeError, OSError) as reason:
                    print(f"  left out of this round: {server.name}: {reason}", file=sys.stderr)
                    continue
                figures[server.name].append(found)
                found["ratio"] = found["rate"] / figures["native hyper"][-1]["rate"]
                print(f"round {number + 1}: {server.name:32} {found['rate']:10.0f}/s  {found['ratio']:.3f}", file=sys.stderr)
        report([s.name for s in every if figures[s.name]], figures, options)
        if not options.only:
            print("\n| serving threads, both cores shared with the client | one | two | requests/s, ratio "
                  "| requests for a CPU second, ratio x 2 |\n|---|---|---|---|---|")
            for name, one, two, ratio, each in threads(work, options.seconds, options.connections, options.rounds):
                print(f"| fermion serve, {name} | {one:.0f} | {two:.0f} | {ratio:.2f} | {each:.2f} |")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
