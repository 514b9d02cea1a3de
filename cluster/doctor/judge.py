"""What was seen on the nodes, judged: a line each with ok, warning or fault, and the remedy. Pure."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from cluster.doctor.finding import Client, Finding, Level, Line
from cluster.doctor.report import ClusterReport
from scenerec.names import few

_GB = 10**9
_LITTLE_DISK_BYTES, _NO_DISK_BYTES = 10 * _GB, 1 * _GB
_FEW_FILES, _TOO_FEW_FILES = 16_384, 2_048
_MUCH_SKEW_S, _TOO_MUCH_SKEW_S = 1.0, 60.0
_STORE_SKEW_S, _STORE_REFUSES_S = 60.0, 900.0  # S3 refuses a request whose time is off by 15 minutes
_SLOW_LATENCY_S = 0.1
_SLOW_BYTES_PER_S = 20e6
_HA_PROXY = "RAY_SERVE_ENABLE_HA_PROXY"  # of a node that was set up to serve
_SLOW_ALL_REDUCE_BYTES_PER_S = 100e6  # ResNet-50's gradients, 102 MB, once a second


def judge(report: ClusterReport, client: Client) -> list[Line]:
    """Judges what was seen on a cluster, from the worst within each check to the best; equal findings in one line."""
    findings = [finding for check in _CHECKS for finding in check(report, client)]
    lines = []
    for check, group in groupby(findings, key=lambda finding: finding.check):
        nodes: dict[tuple[Level, str, str], list[str]] = {}
        for finding in group:
            nodes.setdefault((finding.level, finding.text, finding.remedy), []).append(finding.node)
        worst_first = sorted(nodes, key=lambda key: -list(Level).index(key[0]))
        lines += [Line(check, *key, tuple(filter(None, nodes[key]))) for key in worst_first]
    return lines


def _nodes(report: ClusterReport, client: Client) -> Iterator[Finding]:
    yield Finding("nodes", Level.OK, f"{len(report.nodes)} answered")
    for address in report.silent:
        yield Finding(
            "nodes", Level.FAULT, "alive to Ray, but does not answer", "look at its load, or end Ray on it", address
        )
    for address in report.lost:
        yield Finding(
            "nodes",
            Level.WARNING,
            "was lost: a node that was away for a minute does not come back by itself",
            "start Ray on it again (`ray stop`, `ray start --address=...`), unless it was meant to go",
            address,
        )


def _versions(report: ClusterReport, client: Client) -> Iterator[Finding]:
    ours = client.versions
    for node in report.nodes:
        theirs = node.versions
        wrong = [
            f"{package} {theirs.get(package, 'missing')}, here {ours[package]}"
            for package in ("python", "ray")
            if package in ours and _compared(package, theirs.get(package)) != _compared(package, ours[package])
        ]
        differing = [
            f"{package} {theirs.get(package, 'missing')}, here {ours[package]}"
            for package in ours
            if package not in ("python", "ray") and theirs.get(package) != ours[package]
        ]
        if wrong:
            yield Finding(
                "versions",
                Level.FAULT,
                "; ".join(wrong),
                "install the same Python (to its second number) and the same Ray on every node and here",
                node.address,
            )
        if differing:
            remedy = "install what constraints.txt names on every node; a framework that no job uses may be missing"
            yield Finding("versions", Level.WARNING, "; ".join(differing), remedy, node.address)
        if not (wrong or differing):
            shown = ", ".join(f"{package} {theirs[package]}" for package in ("python", "ray", "torch", "tensorflow")
                              if package in theirs)  # fmt: skip
            yield Finding("versions", Level.OK, f"{shown}, as here", node=node.address)


def _compared(package: str, version: str | None) -> str | None:
    """What of a version has to be equal: of Python's, its first two numbers."""
    return version and (".".join(version.split(".")[:2]) if package == "python" else version)


def _gpus(report: ClusterReport, client: Client) -> Iterator[Finding]:
    drivers = {gpu.driver for node in report.nodes for gpu in node.gpus}
    for node in report.nodes:
        names = ", ".join(f"{len(list(group))} {name}" for name, group in groupby(gpu.name for gpu in node.gpus))
        own = ", ".join(dict.fromkeys(gpu.driver for gpu in node.gpus))
        text = f"{names} (driver {own})" if names else "none"
        if len(node.gpus) != node.ray_gpus:
            yield Finding(
                "GPUs",
                Level.WARNING,
                f"{text}; Ray offers {node.ray_gpus:g}",
                "start Ray with --num-gpus, or free CUDA_VISIBLE_DEVICES; without nvidia-smi, install the driver",
                node.address,
            )
        elif node.gpus and len(drivers) > 1:
            yield Finding("GPUs", Level.WARNING, text, "install one driver on all nodes", node.address)
        else:
            yield Finding("GPUs", Level.OK, text, node=node.address)


def _address(report: ClusterReport, client: Client) -> Iterator[Finding]:
    for node in report.nodes:
        if node.interface is None:
            yield Finding(
                "address",
                Level.FAULT,
                f"no interface of {node.name} has Ray's address {node.address}",
                "start Ray with --node-ip-address= an address that the machine itself has, and no translated one",
                node.address,
            )
        elif (node.name_address or "").startswith("127.") and not node.address.startswith("127."):
            yield Finding(
                "address",
                Level.WARNING,
                f"{node.address} on {node.interface}, but its own name {node.name} is {node.name_address}",
                f"scenerec chooses the interface itself; for other programs, write `{node.address} {node.name}` into "
                "/etc/hosts",
                node.address,
            )
        else:
            yield Finding("address", Level.OK, f"Ray's address is that of {node.interface}", node=node.address)


def _clocks(report: ClusterReport, client: Client) -> Iterator[Finding]:
    offsets = [node.clock_offset_s for node in report.nodes]
    if not offsets:
        return
    middle = sorted(offsets)[len(offsets) // 2]
    remedy = "let all nodes keep their time by NTP (chrony, systemd-timesyncd)"
    for node in report.nodes:
        skew = abs(node.clock_offset_s - middle)
        if skew - node.clock_error_s > _MUCH_SKEW_S:
            level = Level.FAULT if skew > _TOO_MUCH_SKEW_S else Level.WARNING
            yield Finding("clocks", level, f"{skew:.1f} s from the other nodes'", remedy, node.address)
        elif node.store_offset_s is not None and abs(node.store_offset_s) > _STORE_SKEW_S:
            level = Level.FAULT if abs(node.store_offset_s) > _STORE_REFUSES_S else Level.WARNING
            yield Finding("clocks", level, f"{abs(node.store_offset_s):.0f} s from the store's", remedy, node.address)
        else:
            store = "" if node.store_offset_s is None else ", and with the store's"
            yield Finding("clocks", Level.OK, f"agree to a second{store}", node=node.address)


def _space(report: ClusterReport, client: Client) -> Iterator[Finding]:
    for node in report.nodes:
        free = node.disk_free_bytes
        level = Level.FAULT if free < _NO_DISK_BYTES else Level.WARNING if free < _LITTLE_DISK_BYTES else Level.OK
        remedy = "remove what is old there (session_*), or start Ray with --temp-dir= on a larger disk"
        text = f"{node.disk_path}: " + ("enough is free" if level is Level.OK else f"{free / _GB:.1f} GB free")
        yield Finding("disk", level, text, remedy if level is not Level.OK else "", node.address)


def _shared_memory(report: ClusterReport, client: Client) -> Iterator[Finding]:
    for node in report.nodes:
        store, free = node.object_store_bytes, node.shm_free_bytes
        text = f"/dev/shm holds Ray's object store ({store / _GB:.1f} GB)"
        if free < store:
            text = f"/dev/shm has {free / _GB:.1f} GB free, less than Ray's object store ({store / _GB:.1f} GB)"
            remedy = "give the container more (docker --shm-size, an emptyDir of medium Memory), or start Ray with less"
            yield Finding("memory", Level.WARNING, text, remedy, node.address)
        else:
            yield Finding("memory", Level.OK, text, node=node.address)


def _files(report: ClusterReport, client: Client) -> Iterator[Finding]:
    for node in report.nodes:
        few_files = node.open_files < _FEW_FILES
        level = Level.FAULT if node.open_files < _TOO_FEW_FILES else Level.WARNING if few_files else Level.OK
        text = f"a process may have {node.open_files} files and connections open"
        remedy = "`ulimit -n 1048576` before `ray start` (LimitNOFILE= in its systemd unit)" if few_files else ""
        yield Finding("open files", level, text, remedy, node.address)


def _serving(report: ClusterReport, client: Client) -> Iterator[Finding]:
    for node in report.nodes:
        missing = node.serve_variables_missing
        remedy = 'to serve from it: `eval "$(scenerec cluster serve-env)"` before `ray start`, on every node'
        if node.niceness > 0 and _HA_PROXY not in missing:
            text = f"workers run at a low priority ({node.niceness}): an endpoint starves beside other programs"
            yield Finding("serving", Level.WARNING, text, remedy, node.address)
        elif _HA_PROXY in missing:
            yield Finding("serving", Level.OK, "not set up to serve", remedy, node.address)
        elif missing:
            text = f"set up to serve by another version: {few(missing, 2)} not set"
            yield Finding("serving", Level.WARNING, text, remedy, node.address)
        else:
            yield Finding("serving", Level.OK, "set up to serve", node=node.address)


def _access(report: ClusterReport, client: Client) -> Iterator[Finding]:
    is_local = all(node.address.startswith("127.") for node in report.nodes)
    for node in report.nodes:
        if node.token:
            yield Finding("token", Level.OK, "Ray asks for its token", node=node.address)
        else:
            yield Finding(
                "token",
                Level.WARNING,
                "whoever reaches the node can run code on it" + (", of this machine's users" if is_local else ""),
                "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN on every node and here, or a network that only you are on",
                node.address,
            )
    if not is_local:
        tls = all(node.tls for node in report.nodes)
        yield Finding(
            "TLS",
            Level.OK,
            "Ray's processes speak TLS" if tls else "none between the nodes: right on a private network only",
        )
    if client.dashboard_url.startswith("http://") and not client.dashboard_url.startswith(
        ("http://127.", "http://localhost")
    ):
        yield Finding(
            "TLS",
            Level.OK,
            f"{client.dashboard_url} has none: token and code go in clear, as is right in a private network only",
        )


def _ports(report: ClusterReport, client: Client) -> Iterator[Finding]:
    for node in report.nodes:
        ports = [f"{each.program} {each.address}:{each.port}" for each in node.open_ports]
        if not ports:
            yield Finding("ports", Level.OK, "Ray listens on the loopback only", node=node.address)
        elif node.address.startswith("127."):
            remedy = "so it is while TensorFlow trains on several workers; else end what listens, or use a firewall"
            yield Finding("ports", Level.WARNING, f"reachable from outside: {few(ports)}", remedy, node.address)
        else:
            text = f"{len(ports)} reachable by whoever reaches the node: {few(ports)}"
            yield Finding("ports", Level.OK, text, node=node.address)


def _store(report: ClusterReport, client: Client) -> Iterator[Finding]:
    for node in report.nodes:
        if (seen := node.store) is None:
            continue
        if seen.error:
            remedy = "set the AWS variables, or an instance profile, on every node before `ray start`"
            yield Finding("store", Level.FAULT, seen.error, remedy, node.address)
            continue
        read, write = seen.read_bytes_per_s, seen.write_bytes_per_s
        is_slow = seen.latency_s > _SLOW_LATENCY_S or min(read, write) < _SLOW_BYTES_PER_S
        text = f"reads {read / 1e6:.0f} MB/s, writes {write / 1e6:.0f} MB/s, answers in {seen.latency_s * 1e3:.0f} ms"
        remedy = "a store near the nodes, or data.cache; `scenerec data bench` says what a training needs"
        yield Finding("store", Level.WARNING if is_slow else Level.OK, text, remedy if is_slow else "", node.address)


def _all_reduce(report: ClusterReport, client: Client) -> Iterator[Finding]:
    if report.all_reduce_error:
        remedy = "open all ports between the nodes; see `address` above"
        yield Finding("all-reduce", Level.FAULT, report.all_reduce_error, remedy)
    elif (speed := report.all_reduce_bytes_per_s) is not None:
        nodes = report.all_reduce_nodes
        is_slow = nodes > 1 and speed < _SLOW_ALL_REDUCE_BYTES_PER_S
        remedy = "a faster network between the nodes, or optimize.accumulate_steps, by which they speak less often"
        text = f"{nodes} nodes add up {speed / 1e6:.0f} MB/s of gradients ({report.all_reduce_backend})"
        if nodes == 1:
            text = f"one node, whose process group forms ({report.all_reduce_backend})"
        yield Finding("all-reduce", Level.WARNING if is_slow else Level.OK, text, remedy if is_slow else "")


_CHECKS: Sequence[Callable[[ClusterReport, Client], Iterator[Finding]]] = (
    _nodes, _versions, _gpus, _address, _clocks, _space, _shared_memory, _files, _serving, _access, _ports, _store,
    _all_reduce,
)  # fmt: skip
