"""The whole proof of Ray Serve, with figures: docs/scaling.md has them. Takes some minutes.

    python tests/proof_engines.py PROJECT                  # all parts
    python tests/proof_engines.py PROJECT --part kill      # one of them

PROJECT is one with deploy=[ray_serve] whose archive is built.
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from engines import (
    Clients,
    Load,
    children,
    compare,
    config_for,
    mixed_requests,
    ray_cluster,
    read_config,
)
from generator.torture import serving
from generator.workers import model_address


def same_predictions(project: Path) -> None:
    """Send the same 1,000 requests to TorchServe and to Ray."""
    requests = mixed_requests(project, 1000)
    with ray_cluster(project) as cluster, serving(project) as (url, _, _):
        cluster.run(config_for(cluster))
        cluster.wait_until()
        outcome = compare(url, cluster.url, requests)
    for line in outcome.different[:10]:
        print(line[:500])
    print(
        f"{len(requests)} requests: {outcome.equal.total()} equal {dict(outcome.equal)}, "
        f"{outcome.unread_forms} forms that TorchServe cannot read, "
        f"{len(outcome.different)} different"
    )


def summary(load: Load) -> str:
    """Return what clients met, in a line."""
    return (
        f"{load.rate:.1f}/s, p50 {load.percentile(0.5):.0f}, p99 {load.percentile(0.99):.0f} ms, "
        f"done {load.done}, lost {load.lost}, tries {dict(load.tries)}"
    )


def measure(url: str, clients: int, seconds: float, size: tuple[int, int]) -> Load:
    """Warm up, and then measure."""
    for duration in (3, seconds):
        crowd = Clients(url, clients, size=size)
        time.sleep(duration)
        load = crowd.stop()
    return load


def throughput(project: Path) -> None:
    """One worker of TorchServe and one replica of Ray, and two of each: the same clients."""
    for size in ((640, 480), (64, 48)):
        with serving(project) as (url, management, _):
            model = model_address(url, management)
            for workers in (1, 2):
                scaled = f"{model}?min_worker={workers}&max_worker={workers}&synchronous=true"
                urllib.request.urlopen(urllib.request.Request(scaled, method="PUT")).close()
                for clients in (1, 16):
                    load = measure(url, clients, 10, size)
                    print(
                        f"TorchServe {size} {workers} workers, {clients} clients: {summary(load)}"
                    )
        with ray_cluster(project, cpus=2) as cluster:
            for replicas in (1, 2):
                cluster.run(config_for(cluster, min_replicas=replicas, max_replicas=replicas))
                cluster.wait_until(replicas)
                if replicas == 2:
                    time.sleep(3)
                for clients in (1, 16):
                    load = measure(cluster.url, clients, 10, size)
                    print(f"Ray {size} {replicas} replicas, {clients} clients: {summary(load)}")


def kill(project: Path) -> None:
    """Kill one of two nodes under load: without retries, and with them."""
    for retries in (0, 5):
        with ray_cluster(project, nodes=2) as cluster:
            cluster.run(config_for(cluster, min_replicas=2, max_replicas=2))
            began = time.monotonic()
            cluster.wait_until(2)
            print(f"ready after {time.monotonic() - began:.1f} s", flush=True)
            crowd = Clients(cluster.url, 32, retries)  # more than the head's own replica takes
            time.sleep(8)
            before = crowd.load.done
            cluster.kill_node(1)
            time.sleep(12)
            load = crowd.stop()
            print(
                f"{retries} retries: {summary(load)}; slowest {1000 * max(load.seconds):.0f} ms; "
                f"{before / 8:.0f}/s before, {(load.done - before) / 12:.0f}/s on one node",
                flush=True,
            )
            began = time.monotonic()
            cluster.start_node()
            cluster.wait_until(2)
            print(f"a new node is ready after {time.monotonic() - began:.1f} s", flush=True)


def scale(project: Path) -> None:
    """Let the load rise and fall: replicas go from 1 to 3 and back."""
    with ray_cluster(project, cpus=3) as cluster:
        delays = {"upscale_delay_s": 3, "downscale_delay_s": 5, "metrics_interval_s": 2}
        cluster.run(
            config_for(
                cluster, max_replicas=3, target_ongoing_requests=4, look_back_period_s=4, **delays
            )
        )
        cluster.wait_until()
        seen: list[tuple[float, int]] = []
        began, done = time.monotonic(), threading.Event()

        def look() -> None:
            while not done.wait(1):
                replicas = cluster.replicas()
                if not seen or seen[-1][1] != replicas:
                    seen.append((round(time.monotonic() - began, 1), replicas))

        watch = threading.Thread(target=look)
        watch.start()
        loads = []
        for clients, seconds in ((1, 5), (24, 40), (1, 35)):
            crowd = Clients(cluster.url, clients)
            time.sleep(seconds)
            loads.append(crowd.stop())
            print(f"{clients} clients: {summary(loads[-1])}", flush=True)
        done.set()
        watch.join()
        print(f"replicas by seconds: {seen}")


def memory(project: Path) -> None:
    """Print the memory of each process of Ray with one replica, in MB."""
    import psutil

    with ray_cluster(project) as cluster:
        cluster.run(config_for(cluster, max_replicas=1))
        began = time.monotonic()
        cluster.wait_until()
        print(f"the first reply after {time.monotonic() - began:.1f} s")
        for pid in children(cluster.nodes[0].pid):
            process = psutil.Process(pid)
            private = process.memory_full_info().uss / 1e6
            print(f"{private:7.0f} MB  {' '.join(process.cmdline())[:60]}")


PARTS: dict[str, Callable[[Path], None]] = {
    "same": same_predictions,
    "throughput": throughput,
    "kill": kill,
    "scale": scale,
    "memory": memory,
}


def main() -> None:
    """Run the parts that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", type=Path)
    parser.add_argument("--part", choices=PARTS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` stops the clusters, too
    project = options.project.resolve()
    print(f"{project.name}: {read_config(project)['applications'][0]['name']}")
    for name, part in PARTS.items():
        if options.part in (None, name):
            print(f"--- {name}", flush=True)
            part(project)


if __name__ == "__main__":
    main()
