"""What a service of compose.yaml must have beyond the schema. `problems` says each as a line."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Model = Mapping[str, Any]

PUBLISHED = {"runtime", "grafana", "phoenix"}
ONE_SHOT = {"permissions", "migrate", "git-clone"}
UNCHECKED = {"collector", "git-sync"}  # their images hold no client to ask with
_TAG = re.compile(r"[\w.-]+(?:/[\w.-]+)*:[\w.-]*\d[\w.-]*")
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY")
_FROM_FILE = re.compile(r"\$\{file:/run/secrets/(\w+)\}")


def problems(model: Model, root: Path) -> list[str]:
    """`model` as compose_model.resolve answers it; `root` is the directory of the file."""
    found = [
        f"{name}: {problem}"
        for name, service in model["services"].items()
        for rule in (_image, _confined, _limited, _alive, _secrets, _mounts)
        for problem in rule(name, service, root)
    ]
    return found + list(_networks(model)) + list(_files(model, root))


def _image(name: str, service: Model, root: Path) -> Iterator[str]:
    image = service.get("image", "")
    if not _TAG.fullmatch(image) or "latest" in image:
        yield f"its image {image!r} is not pinned"


def _confined(name: str, service: Model, root: Path) -> Iterator[str]:
    if service.get("read_only") is not True:
        yield "its root can be written to"
    if service.get("cap_drop") != ["ALL"]:
        yield "it has capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "it can get more rights"
    alone = service.get("network_mode") == "none" and name in ONE_SHOT
    if set(service.get("cap_add", ())) - ({"CHOWN"} if alone else set()):
        yield "it adds capabilities"
    if re.match(r"(?:0|root)?(?::|$)", service.get("user", "")) and not alone:
        yield "it runs as root"
    if service.get("privileged") or service.get("network_mode", "none") != "none" or service.get("pid"):
        yield "it shares the machine's namespaces"


def _limited(name: str, service: Model, root: Path) -> Iterator[str]:
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    for what in ("cpus", "memory", "pids"):
        if not limits.get(what):
            yield f"has no limit of {what}"
    if not service.get("logging", {}).get("options", {}).get("max-size"):
        yield "its log has no limit"


def _alive(name: str, service: Model, root: Path) -> Iterator[str]:
    check, once = service.get("healthcheck", {}), name in ONE_SHOT
    if service.get("restart") != ("no" if once else "unless-stopped"):
        yield f"restart is {service.get('restart')}"
    of_image = "build" in service and "HEALTHCHECK" in (root / "Dockerfile").read_text()
    if bool(check.get("disable")) != (once or name in UNCHECKED):
        yield "its health check is disabled" if check.get("disable") else "its health check can never succeed"
    elif not check.get("disable") and not check.get("test") and not of_image:
        yield "has no health check"


def _secrets(name: str, service: Model, root: Path) -> Iterator[str]:
    mounted = {Path(secret["target"]).name for secret in service.get("secrets", ())}
    for variable, value in service.get("environment", {}).items():
        of_file = _FROM_FILE.fullmatch(value or "")
        if of_file and of_file[1] not in mounted:
            yield f"{variable} is of a secret that it has not"
        if value and _SECRET.search(variable) and not variable.endswith("_FILE") and not of_file:
            yield f"{variable} is a secret in the environment"
        if "://" in (value or "") and urlsplit(value).password is not None:
            yield f"{variable} has a password in it"


def _mounts(name: str, service: Model, root: Path) -> Iterator[str]:
    for mount in service.get("volumes", ()):
        if mount["type"] == "bind":
            source = Path(mount["source"])
            if not source.exists() or not source.is_relative_to(root):
                yield f"{source} is not in the repository"
            if not mount.get("read_only"):
                yield f"{source} can be written to"
    for port in service.get("ports", ()):
        if port.get("host_ip") != "127.0.0.1":
            yield f"port {port['target']} is published on {port.get('host_ip')}"
        if name not in PUBLISHED:
            yield f"port {port['target']} is published"


def _networks(model: Model) -> Iterator[str]:
    internal = {name for name, network in model["networks"].items() if network.get("internal")}
    for name, service in model["services"].items():
        networks = set(service.get("networks") or ())
        if not networks and service.get("network_mode") != "none":
            yield f"{name}: is on the network of everybody"
        if service.get("ports") and not networks - internal:
            yield f"{name}: what it publishes cannot be reached, for its networks are internal"
        if networks - internal and name not in PUBLISHED | {"git-clone", "git-sync"}:
            yield f"{name}: reaches the world"
        for other in service.get("depends_on", ()):
            condition = service["depends_on"][other]["condition"]
            if (condition == "service_completed_successfully") != (other in ONE_SHOT):
                yield f"{name}: waits for {other} with {condition}"


def _files(model: Model, root: Path) -> Iterator[str]:
    used = {secret["source"] for service in model["services"].values() for secret in service.get("secrets", ())}
    for name, secret in model["secrets"].items():
        if Path(secret.get("file", "")) != root / "secrets" / name:
            yield f"the secret {name} is not the file secrets/{name}"
        if name not in used:
            yield f"nobody has the secret {name}"
