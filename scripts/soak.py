#!/usr/bin/env python3
"""A soak: `fermion up` with many apps, good and hostile requests to all of them, deploys and rollbacks going on. At the
end memory, descriptors, threads and instances must be back near where they were after the first minutes, and every
answer must have been one that its path promises. Status 1 if not.

Usage: soak.py [--minutes M] [--apps N] [--clients C] [--rate R] [--binary FILE] [--keep]
"""
import argparse, collections, http.client, os, random, re, resource, shutil, subprocess, sys, tempfile, threading, time

from measure import platform
from measure.server import FERMION

EDGE = '[limits]\nmemory = "16MiB"\ncpu_time = "100ms"\nwall_time = "2s"\nrequest_body = "1MiB"\nconcurrency = 32\n'
# Path, how often, and what may come of it: a status, or one with the code of the platform. A guest that wants more CPU than a
# busy machine has left meets its wall time first. `cut` is an answer that breaks off, as the platform must break one that failed
# after its head.
GOOD = [("/hello", 30, {"200"}), ("/info", 5, {"200"}), ("/status/404", 2, {"404"}), ("/random", 2, {"200"}),
        ("/stream/16/4096", 4, {"200"}), ("/alloc/2", 4, {"200"}), ("/sleep/30", 4, {"200"}), ("/log/soak", 2, {"200"}),
        ("/trailers", 1, {"200"}), ("POST /count", 4, {"200"}), ("POST /echo", 4, {"200"})]
HOSTILE = [("/loop", 1, {"504 GUEST_CPU_LIMIT", "504 GUEST_TIMEOUT"}), ("/alloc", 2, {"502 GUEST_MEMORY_LIMIT"}), ("/trap", 3, {"502 GUEST_TRAP"}),
           ("/panic", 2, {"502 GUEST_TRAP"}), ("/stack", 2, {"502 GUEST_STACK_LIMIT"}), ("/hang", 1, {"504 GUEST_TIMEOUT"}),
           ("/never", 1, {"502 GUEST_NO_RESPONSE", "504 GUEST_TIMEOUT"}), ("/err/internal", 1, {"502 GUEST_ERROR"}),
           ("/hostcall", 1, {"502 GUEST_RESPONSE_INVALID", "504 GUEST_CPU_LIMIT", "504 GUEST_TIMEOUT"}),
           ("/abort-body", 1, {"cut", "502 GUEST_TRAP"}), ("/hang-after-body", 1, {"cut", "504 GUEST_TIMEOUT"}),
           ("/loop-after-body", 1, {"cut", "504 GUEST_CPU_LIMIT", "504 GUEST_TIMEOUT"}),
           ("/many-headers/200", 1, {"502 GUEST_RESPONSE_INVALID", "502 GUEST_RESOURCE_LIMIT", "502 GUEST_TRAP"})]
# What any request may meet while the machine is as busy as this script makes it.
ALWAYS = {"503 OVERLOADED"}
# How far from the start the end may be.
RSS_SLACK_MIB, RSS_SLACK, DESCRIPTORS_SLACK, THREADS_SLACK = 48, 0.15, 16, 4


class Count:
    """Outcomes by path, and those that the path does not promise."""

    def __init__(self):
        self.lock, self.outcomes, self.unexplained = threading.Lock(), collections.Counter(), collections.Counter()

    def add(self, path, outcome, promised):
        with self.lock:
            self.outcomes[outcome] += 1
            if outcome not in promised and outcome not in ALWAYS:
                self.unexplained[f"{path}: {outcome}"] += 1


def ask(connection, app, path):
    """One request; gives the outcome and whether the connection can be used again."""
    method, _, where = path.rpartition(" ")
    body = os.urandom(random.choice([10, 1000, 100_000])) if method else None
    try:
        connection.request(method or "GET", f"/{app}{where}", body)
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as reason:
        return f"no answer ({type(reason).__name__})", False
    try:
        content = answer.read()
    except (OSError, http.client.HTTPException):
        return "cut", False
    code = re.search(r'details="(\w+)"', answer.getheader("proxy-status") or "")
    if where == "/echo" and answer.status == 200 and content != body:
        return "200 with another body", True
    return f"{answer.status} {code[1]}" if code else str(answer.status), not answer.will_close


def client(port, apps, count, stop, seed, pause):
    chance = random.Random(seed)
    paths = GOOD + HOSTILE
    weights = [weight for _, weight, _ in paths]
    connection = None
    while not stop.wait(pause and chance.expovariate(1 / pause)):
        app, kind = chance.choice(apps)
        path, _, promised = ("/", 1, {"200"}) if kind == "hello" else chance.choices(paths, weights)[0]
        connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        outcome, is_usable = ask(connection, app, path)
        if outcome.startswith("no answer"):
            # A connection that was kept may have been closed between two requests; a fresh one may not.
            connection.close()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            outcome, is_usable = ask(connection, app, path)
        count.add(path, outcome, promised)
        if not is_usable or chance.random() < 0.01:
            connection.close()
            connection = None
    if connection:
        connection.close()


class Operator(threading.Thread):
    """Deploys new versions and rolls back, one after the other."""

    def __init__(self, options, server, folders, version):
        super().__init__(daemon=True)
        self.options, self.server, self.folders, self.version = options, server, folders, version
        self.stop, self.done, self.failed = threading.Event(), collections.Counter(), []

    def fermion(self, *words):
        argv = [self.options.binary, *words, "--admin", f"127.0.0.1:{self.server.admin}", "--data",
                os.path.join(self.server.work, "data")]
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.done[f"{words[0]}, {'done' if done.returncode == 0 else 'failed'}"] += 1
        if done.returncode:
            self.failed.append(f"{' '.join(words)}: {done.stderr.strip()[-300:]}")
        return done.returncode == 0

    def run(self):
        chance = random.Random(7)
        while not self.stop.is_set():
            name, component, sections = chance.choice(self.folders)
            self.version += 1
            folder = platform.project(self.server.work, name, component, f"1.1.{self.version}", sections)
            if self.fermion("deploy", folder) and chance.random() < 0.5:
                self.fermion("rollback", name)
            self.stop.wait(0.5)


def weigh(server):
    """Figures at rest: after requests have ended and what is kept for a while has gone."""
    samples = platform.metrics(server)
    return {"RSS MiB": round(server.rss_mib()), "descriptors": server.descriptors(), "threads": server.threads(),
            "instances": round(platform.total(samples, "fermion_instances"))}


def rest(server, seconds):
    """Waits until nothing runs, then until kept instances and closed connections are gone."""
    until = time.monotonic() + 60
    while platform.total(platform.metrics(server), "fermion_instances") and time.monotonic() < until:
        time.sleep(0.5)
    time.sleep(seconds)


def loaded(server, apps, options, seconds, operator):
    count, stop = Count(), threading.Event()
    pause = options.clients / options.rate if options.rate else 0
    threads = [threading.Thread(target=client, args=(server.port, apps, count, stop, n, pause), daemon=True)
               for n in range(options.clients)]
    for thread in threads:
        thread.start()
    operator.start()
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.process.poll() is None:
        time.sleep(min(30, max(0.1, until - time.monotonic())))
        if server.process.poll() is None:
            print(f"{sum(count.outcomes.values()):9} requests, {server.rss_mib():.0f} MiB, {server.descriptors()} descriptors, "
                  f"{sum(operator.done.values())} deploys and rollbacks, "
                  f"{sum(count.unexplained.values())} unexplained", file=sys.stderr)
    stop.set()
    operator.stop.set()
    operator.join(120)
    for thread in threads:
        thread.join(60)
    return count


def projects(options):
    kinds = [("hello", "p2-hello", ""), ("hello", "p3-hello", ""), ("edge", "p2-edge", EDGE), ("edge", "p3-edge", EDGE)]
    if options.reuse:
        kept = "[instances]\nreuse = { requests = 100 }\n"
        kinds += [("hello", "p2-hello", kept), ("hello", "p3-hello", kept), ("edge", "p2-edge", EDGE + kept)]
    for number in range(options.apps):
        kind, component, sections = kinds[number % len(kinds)]
        yield f"app{number}", kind, component, sections


def tell(count, operator, before, after, minutes):
    print(f"\n{minutes:g} minutes: {sum(count.outcomes.values())} requests; "
          + ", ".join(f"{k}: {v}" for k, v in sorted(operator.done.items())) + "\n")
    print("| at rest | RSS MiB | descriptors | threads | instances |\n|---|---|---|---|---|")
    for word, figures in (("after the first tenth", before), ("at the end", after)):
        print(f"| {word} | {figures['RSS MiB']} | {figures['descriptors']} | {figures['threads']} | {figures['instances']} |")
    print("\n| answer | requests |\n|---|---|")
    for outcome, times in count.outcomes.most_common():
        print(f"| {outcome} | {times} |")
    faults = []
    if after["RSS MiB"] > before["RSS MiB"] * (1 + RSS_SLACK) + RSS_SLACK_MIB:
        faults.append("memory grew")
    if after["descriptors"] > before["descriptors"] + DESCRIPTORS_SLACK:
        faults.append("descriptors are left open")
    if after["threads"] > before["threads"] + THREADS_SLACK:
        faults.append("threads are left")
    if after["instances"]:
        faults.append("instances are left in use")
    faults += [f"unexplained: {what} ({times} times)" for what, times in count.unexplained.most_common(20)]
    faults += [f"the operator's {what}" for what in operator.failed[:10]]
    print("\n" + ("\n".join(f"- {fault}" for fault in faults) or "Nothing leaked, and every answer was one that was expected."))
    return 1 if faults else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--minutes", type=float, default=30)
    p.add_argument("--apps", type=int, default=200)
    p.add_argument("--clients", type=int, default=32)
    p.add_argument("--rate", type=float, default=0, help="requests a second at most, of all clients; 0: as many as there can be")
    p.add_argument("--rest", type=float, default=40, help="seconds at rest before figures are taken")
    p.add_argument("--reuse", action="store_true", help="some apps keep their instances")
    p.add_argument("--binary", default=FERMION)
    p.add_argument("--keep", action="store_true", help="leave the data directory")
    options = p.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    work = tempfile.mkdtemp(prefix="fermion-soak-")
    every = list(projects(options))
    folders = [platform.project(work, name, component, sections=sections) for name, _, component, sections in every]
    last = "/hello" if every[-1][1] == "edge" else "/"
    cores = ",".join(str(n) for n in range(os.cpu_count()))
    server = platform.up("soak", folders, f"/{every[-1][0]}{last}", os.cpu_count(), cores)
    options.binary = server.command[0] = os.path.abspath(options.binary)
    try:
        server.start(work, patience=1200)
        print(f"{options.apps} apps after {server.first:.0f} s", file=sys.stderr)
        apps = [(name, kind) for name, kind, *_ in every]
        deployed = [(name, component, sections) for name, _, component, sections in every]
        # The first tenth fills what is filled once: pools, tables of connections, caches, the allocator's own.
        early = Operator(options, server, deployed, 0)
        warm = loaded(server, apps, options, options.minutes * 6, early)
        rest(server, options.rest)
        operator = Operator(options, server, deployed, early.version)
        operator.failed += early.failed
        before = weigh(server)
        count = loaded(server, apps, options, options.minutes * 54, operator)
        count.unexplained.update(warm.unexplained)
        if server.process.poll() is not None:
            sys.exit(f"the platform ended with status {server.process.returncode}; its log is in {work}")
        rest(server, options.rest)
        status = tell(count, operator, before, weigh(server), options.minutes)
    finally:
        server.stop()
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
