#!/usr/bin/env python3
"""Bodies that stream: bytes/s as a ratio to a native hyper server that does the same work, and memory with readers that
hardly read.

Usage: bench_stream.py [--rounds N] [--seconds S] [--connections C] [--bytes B] [--readers R] [--only rates|readers]
"""
import argparse, resource, select, shutil, socket, statistics, tempfile, time

from measure import platform
from measure.server import NATIVE, Server, ask

CHUNK = 64 * 1024
# A megabyte each way: made by the server, summed by it, sent back through the guest, sent back by the host alone.
KINDS = [("source", "/stream/{chunks}/{chunk}", "made"), ("sink", "/count", "summed"), ("echo", "/echo", "through the guest"),
         ("echo", "/echo-direct", "moved by the host")]
LIMITS = ["--wall-time", "10m", "--cpu-time", "10s", "--request-body", "1GiB", "--response-body", "1024GiB"]


def rates(options, work):
    edges = [platform.serve(f"fermion serve, {generation}", component, path="/hello", more=LIMITS)
             for generation, component in (("0.2", "p2-edge"), ("0.3", "p3-edge"))]
    servers = [Server("native hyper", [NATIVE, "127.0.0.1:{port}"])] + edges
    print(f"{options.rounds} rounds of {options.seconds} s, bodies of {options.bytes} bytes, {options.connections} connections\n")
    print("| body | native MiB/s | fermion 0.2 | ratio | fermion 0.3 | ratio | RSS MiB before and after, 0.2 | 0.3 |")
    print("|---|---|---|---|---|---|---|---|")
    for server in servers:
        server.start(work)
    try:
        for kind, path, word in KINDS:
            path = path.format(chunks=options.bytes // CHUNK, chunk=CHUNK)
            seen = {server.name: [] for server in servers}
            ask_once = lambda server, seconds: server.load("stream", seconds, kind, options.bytes, options.connections, path)
            for server in servers:
                ask_once(server, 1)
            before = [server.rss_mib() for server in edges]
            for _ in range(options.rounds):
                for server in servers:
                    seen[server.name].append(ask_once(server, options.seconds)["bytes_per_second"] / 2**20)
            native, p2, p3 = (statistics.median(seen[server.name]) for server in servers)
            memory = [f"{b:.0f}, {server.rss_mib():.0f}" for b, server in zip(before, edges)]
            print(f"| {kind}, {word} | {native:.0f} | {p2:.0f} | {p2 / native:.2f} | {p3:.0f} | {p3 / native:.2f} "
                  f"| {memory[0]} | {memory[1]} |", flush=True)
    finally:
        for server in servers:
            server.stop()


def readers(options, work):
    """Each reader asks for 64 MiB through a small window and takes a few bytes a second."""
    print(f"\n{options.readers} readers of 64 MiB each, some bytes a second each\n")
    print("| server | RSS MiB before | most | KiB a reader | answers that came | a neighbour's answer ms, most | RSS MiB after |")
    print("|---|---|---|---|---|---|---|")
    for generation, component in (("0.2", "p2-edge"), ("0.3", "p3-edge")):
        limits = LIMITS + ["--concurrency", str(min(options.readers, 1000))]
        server = platform.serve(f"fermion serve, {generation}", component, path="/hello", more=limits).start(work)
        try:
            before, most, slowest, came = server.rss_mib(), 0, 0, set()
            sockets = [slow_socket(server.port) for _ in range(options.readers)]
            until = time.monotonic() + options.seconds * 4
            while time.monotonic() < until:
                for index, s in enumerate(sockets):
                    if select.select([s], [], [], 0)[0] and b"200 OK" in (s.recv(512) or b"")[:40]:
                        came.add(index)
                most = max(most, server.rss_mib())
                if options.readers < 1000:  # beyond it no permit is left for anybody
                    began = time.monotonic()
                    ask(server.port, "/hello")
                    slowest = max(slowest, (time.monotonic() - began) * 1e3)
                time.sleep(0.5)
            for s in sockets:
                s.close()
            time.sleep(2)
            print(f"| fermion serve, {generation} | {before:.0f} | {most:.0f} | {(most - before) * 1024 / options.readers:.0f} "
                  f"| {len(came)} | {slowest:.1f} | {server.rss_mib():.0f} |", flush=True)
        finally:
            server.stop()


def slow_socket(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("127.0.0.1", port))
    s.sendall(f"GET /stream/1024/{CHUNK} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    return s


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--connections", type=int, default=4)
    p.add_argument("--bytes", type=int, default=2**20)
    p.add_argument("--readers", type=int, default=1000)
    p.add_argument("--only", choices=["rates", "readers"])
    options = p.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    work = tempfile.mkdtemp(prefix="fermion-stream-")
    try:
        for name, part in (("rates", rates), ("readers", readers)):
            if options.only in (None, name):
                part(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
