"""What an older Python is told. It is the one that reads this file: nothing newer than 3.5 may stand here.

python3 old_python.py    # 0 where this Python is new enough, else 1 and one line on standard error
"""

import sys

NEEDED = (3, 11)
# By the ID or ID_LIKE of /etc/os-release, and the version where that matters: what gives a Python that is new enough.
_GIVES = (
    ("ubuntu", ("22.04",), "apt install python3.11 python3.11-venv", "python3.11"),
    ("ubuntu", ("18.04", "20.04"), "add-apt-repository ppa:deadsnakes/ppa; apt install python3.11-venv", "python3.11"),
    ("amzn", (), "dnf install python3.11", "python3.11"),
    ("rhel", ("7",), "", ""),
    ("centos", ("7",), "", ""),
    ("rhel", (), "dnf install python3.12", "python3.12"),
    ("centos", (), "dnf install python3.12", "python3.12"),
    ("fedora", (), "dnf install python3.12", "python3.12"),
    ("opensuse", (), "zypper install python311", "python3.11"),
    ("sles", (), "zypper install python311", "python3.11"),
    ("suse", (), "zypper install python311", "python3.11"),
    ("alpine", (), "apk add python3 (of 3.18 or later)", "python3"),
)
_ELSEWHERE = "uv python install 3.12"


def refusal(version: "tuple[int, ...]", os_release: str) -> str:
    """One line: which Python is needed, and how the distribution that `os_release` describes gives it."""
    told = {}
    for line in os_release.splitlines():
        name, _, value = line.partition("=")
        told[name.strip()] = value.strip().strip("\"'")
    needed = "oomscope needs Python {}.{} or later, and this is {}.{}".format(*(NEEDED + tuple(version[:2])))
    how, python = _how([told.get("ID", "")] + told.get("ID_LIKE", "").split(), told.get("VERSION_ID", ""))
    return "{}: {}, then make demo PYTHON={}".format(needed, how, python)


def _how(names: "list[str]", version: str) -> "tuple[str, str]":
    for name in names:
        for distribution, versions, how, python in _GIVES:
            of_version = not versions or any(version == v or version.startswith(v + ".") for v in versions)
            if name.partition("-")[0] == distribution and of_version:
                return (how, python) if how else (_ELSEWHERE, "python3.12")
    return _ELSEWHERE, "python3.12"


def told() -> str:
    """The refusal for this Python on this machine."""
    try:
        with open("/etc/os-release") as file:
            return refusal(sys.version_info[:2], file.read())
    except OSError:
        return refusal(sys.version_info[:2], "")


if __name__ == "__main__" and sys.version_info < NEEDED:
    sys.exit(told())
