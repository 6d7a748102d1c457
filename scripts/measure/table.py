"""The servers that `make bench` compares: ours in each way of serving, and whatever peers are installed."""
import os, subprocess

from . import platform
from .server import FERMION, NATIVE, Server, guest, peer

POOL = ["-Opooling-allocator", "-Opooling-memory-keep-resident=1048576", "-Opooling-table-keep-resident=65536",
        "-Opooling-async-stack-keep-resident=65536", "-Opooling-pagemap-scan=y"]
# Only components without asynchronous functions run without it.
LEAN = ["-Wconcurrency-support=n"]
ENDLESS = "1000000"
SECTION = "[instances]\nreuse = {{ requests = {requests}, concurrency = {concurrency} }}\n"


def offers_reuse():
    words = subprocess.run([FERMION, "serve", "--help"], capture_output=True, text=True).stdout
    return "--reuse-concurrency" in words


def servers(work):
    found = [Server("native hyper", [NATIVE, "127.0.0.1:{port}"])]
    found += ours(work) + wasmtime()
    if spin := peer("spin"):
        manifest = os.path.join(work, "spin.toml")
        with open(manifest, "w") as f:
            f.write('spin_manifest_version = 2\n[application]\nname = "hello"\n[[trigger.http]]\nroute = "/..."\n'
                    f'component = "hello"\n[component.hello]\nsource = "{guest("p2-hello")}"\n')
        found.append(Server("spin up, 0.2", [spin, "up", "-f", manifest, "--listen", "127.0.0.1:{port}"]))
    if found_workerd := peer("workerd"):
        found.append(workerd(found_workerd, work))
    return found


def languages():
    """Components of other toolchains that are built, with the name that they have in the table."""
    found = [("example-hello-js", "JavaScript"), ("example-hello-py", "Python")]
    return [(component, word) for component, word in found if os.path.exists(guest(component))]


def ours(work):
    def app(name, component, sections=""):
        slug = "app-" + "".join(c for c in name.lower() if c.isalnum())
        return platform.up(f"fermion up, {name}", [platform.project(work, slug, component, sections=sections)], f"/{slug}/")

    reuse = lambda concurrency: SECTION.format(requests=ENDLESS, concurrency=concurrency)
    found = [
        platform.serve("fermion serve, 0.2", "p2-hello"),
        platform.serve("fermion serve, 0.3", "p3-hello"),
        app("0.2", "p2-hello"),
        app("0.3", "p3-hello"),
    ]
    found += [app(word, component) for component, word in languages()]
    if offers_reuse():
        found += [
            platform.serve("fermion serve, 0.2, reuse", "p2-hello", more=["--reuse", ENDLESS]),
            platform.serve("fermion serve, 0.3, reuse", "p3-hello", more=["--reuse", ENDLESS, "--reuse-concurrency", "128"]),
            app("0.2, reuse", "p2-hello", reuse(1)),
            app("0.3, reuse", "p3-hello", reuse(128)),
        ]
        found += [app(f"{word}, reuse", component, reuse(1)) for component, word in languages()]
    return found


def wasmtime():
    binary = peer("wasmtime")
    if not binary:
        return []
    run = lambda name, component, *flags: Server(
        f"wasmtime serve, {name}", [binary, "serve", "-Scli", "--addr", "127.0.0.1:{port}", *flags, guest(component)])
    endless = ["--max-instance-reuse-count", ENDLESS]
    found = [
        run("0.2", "p2-hello"),
        run("0.2, best flags", "p2-hello", *POOL, *LEAN),
        run("0.2, best flags, reuse", "p2-hello", *POOL, *LEAN, *endless),
        run("0.3, fresh", "p3-hello", "--max-instance-reuse-count", "1"),
        run("0.3", "p3-hello"),
        run("0.3, best flags, reuse", "p3-hello", *POOL, *endless, "--max-instance-concurrent-reuse-count", "128"),
    ]
    return found + [run(word, component) for component, word in languages()]


def workerd(binary, work):
    with open(os.path.join(work, "hello.js"), "w") as f:
        f.write('export default { fetch() { return new Response("Hello, world!\\n"); } };\n')
    with open(os.path.join(work, "workerd.capnp"), "w") as f:
        f.write('using Workerd = import "/workerd/workerd.capnp";\nconst config :Workerd.Config = (services = '
                '[(name = "main", worker = (modules = [(name = "hello.js", esModule = embed "hello.js")], '
                'compatibilityDate = "2026-01-01"))], sockets = [(name = "http", address = "127.0.0.1:0", http = (), '
                'service = "main")]);\n')
    return Server("workerd, JavaScript", [binary, "serve", os.path.join(work, "workerd.capnp"), "--socket-addr",
                                          "http=127.0.0.1:{port}"])
