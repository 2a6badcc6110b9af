"""The base of the images: Debian's slim image where it can be pulled, else one like it made from packages."""

import os
from pathlib import Path

from . import packages
from .cache import Cache, key_of
from .commands import run, say
from .engine import Engine
from .errors import NotPossibleError

IMAGE = "debian:trixie-slim"
PYTHON = "3.13"  # the version that it has
_SUITE = "trixie"

# As in Debian's slim image: documentation, manuals and translations stay out, licenses stay in.
_SLIM = """\
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-include=/usr/share/locale/locale.alias
path-exclude=/usr/share/man/*
"""
_APT = """\
APT::Install-Recommends "false";
Acquire::Languages "none";
"""
_SOURCES = f"""\
deb http://deb.debian.org/debian {_SUITE} main
deb http://deb.debian.org/debian {_SUITE}-updates main
deb http://deb.debian.org/debian-security {_SUITE}-security main
"""
_FILES = {
    "etc/dpkg/dpkg.cfg.d/slim": _SLIM,
    "etc/apt/apt.conf.d/slim": _APT,
    "etc/apt/sources.list": _SOURCES,
}
# What debootstrap unpacked before these rules were there, and what belongs to the machine that ran it.
_TRIM = """
find usr/share/doc -type f ! -name copyright -delete
find usr/share/doc -type l -delete
find usr/share/doc -type d -empty -delete
find usr/share/locale -mindepth 1 -maxdepth 1 ! -name locale.alias -exec rm -r {} +
rm -rf usr/share/info/* usr/share/man/* var/cache/apt/* var/lib/apt/lists/* var/log/*
rm -f etc/hostname etc/resolv.conf
"""


def ensure(cache: Cache, engine: Engine, *, fresh: bool = False) -> str:
    """The name of a base image that the engine has now; `fresh` takes the newest one there is."""
    stand_in = f"k8s-mcp-server/base:{key()}"
    for image in (IMAGE, stand_in):
        if not fresh and engine.has(image):
            return image
    if engine.pull(IMAGE):
        return IMAGE
    say(f"{IMAGE} cannot be pulled here; a base is made from Debian's packages")
    if fresh:
        cache.forget("base")
    engine.import_image(cache.entry("base", key(), _bootstrap), stand_in)
    return stand_in


def key() -> str:
    """Names the base by what it is made from, whichever way."""
    return key_of(IMAGE, _SUITE, os.uname().machine, _TRIM, *_FILES.values())


def _bootstrap(out: Path) -> None:
    """Write the tar file `out` with a minimal Debian."""
    if os.geteuid() != 0:
        raise NotPossibleError(f"{IMAGE} cannot be pulled, and only root can make a base from Debian's packages")
    purpose = "makes a base image from Debian's packages"
    debootstrap = packages.ensure("debootstrap", purpose, "debootstrap", "debian-archive-keyring")
    root = out.with_name("root")
    say(f"making a base image with {debootstrap} (once; a minute)")
    # In a mount namespace of its own: what debootstrap mounts goes with it, also when interrupted.
    arguments = ("--variant=minbase", "--force-check-gpg", _SUITE)
    run("nice", "-n", "10", "unshare", "--mount", debootstrap, *arguments, root)
    for name, content in _FILES.items():
        (root / name).write_text(content)
    run("sh", "-ec", f'cd "$1"\n{_TRIM}', "sh", root)
    run("tar", "--create", "--numeric-owner", "--exclude=./dev/*", "--file", out, "--directory", root, ".")
