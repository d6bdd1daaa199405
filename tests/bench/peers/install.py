"""Gets the peers into a cache directory: Debian packages unpacked there, npm packages installed there.

Nothing is installed on the system and no service is started.  What cannot be had raises Missing.
"""

import os
import re
import shutil
import subprocess


class Missing(Exception):
    """Why a peer cannot be measured here."""


def cache():
    """The directory, made if need be: $BUCKETLINE_PEERS, else below the user's cache."""
    path = os.environ.get("BUCKETLINE_PEERS") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "bucketline-peers")
    os.makedirs(path, exist_ok=True)
    return path


def _run(argv, **options):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode != 0:
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        raise Missing("%s: %s" % (" ".join(argv[:3]), lines[-1] if lines else "failed"))
    return done.stdout.decode("utf-8", "replace")


def debian(*packages):
    """Unpacks packages, and what they need and the system lacks; returns the root they lie in."""
    root = os.path.join(cache(), "debian")
    marks = [os.path.join(root, ".have-" + package) for package in packages]
    if all(os.path.exists(mark) for mark in marks):
        return root
    if not shutil.which("apt-get"):
        raise Missing("no apt-get here")
    plan = _run(["apt-get", "install", "-q", "-y", "--no-install-recommends", "--dry-run"] +
                list(packages))
    wanted = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
    files = os.path.join(cache(), "packages")
    os.makedirs(files, exist_ok=True)
    if wanted:
        _run(["apt-get", "download", "-q"] + wanted, cwd=files)
    for name in os.listdir(files):
        if name.split("_")[0] in wanted:
            _run(["dpkg", "-x", os.path.join(files, name), root])
    os.makedirs(root, exist_ok=True)
    for mark in marks:
        open(mark, "w").close()
    return root


def npm(*packages):
    """Installs packages with npm; returns the directory they lie in."""
    directory = os.path.join(cache(), "npm")
    if not shutil.which("npm") or not shutil.which("node"):
        raise Missing("no npm here")
    os.makedirs(directory, exist_ok=True)
    modules = os.path.join(directory, "node_modules")
    missing = [name for name in packages if not os.path.isdir(os.path.join(modules, name))]
    if missing:
        _run(["npm", "install", "--no-audit", "--no-fund", "--prefix", directory] + missing,
             cwd=directory)
    return modules


def npm_version(package):
    with open(os.path.join(cache(), "npm", "node_modules", package, "package.json")) as file:
        return re.search(r'"version":\s*"([^"]+)"', file.read()).group(1)
