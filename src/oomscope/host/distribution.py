"""How this machine's distribution sets what takes a reboot: the exact commands, by /etc/os-release."""

from __future__ import annotations

import shlex

from oomscope.host.facts import Machine

_GRUB = "in GRUB_CMDLINE_LINUX of /etc/default/grub, then"
_DEBIAN, _RED_HAT, _SUSE, _ARCH = "debian", "red hat", "suse", "arch"
# What ID and ID_LIKE of os-release(5) say -> whose tools there are.
_FAMILIES = {
    **dict.fromkeys(("debian", "ubuntu", "raspbian", "linuxmint"), _DEBIAN),
    **dict.fromkeys(("rhel", "fedora", "centos", "rocky", "almalinux", "ol", "amzn"), _RED_HAT),
    **dict.fromkeys(("suse", "opensuse", "sles", "sle-micro", "opensuse-leap", "opensuse-tumbleweed"), _SUSE),
    **dict.fromkeys(("arch", "archarm", "manjaro"), _ARCH),
}


def boot_option(machine: Machine, *options: str) -> str:
    """`boot option page_owner=on`, and how it gets onto the command line for good, where that is known here."""
    words = " ".join(options)
    how = _how(machine, options)
    return f"boot option {words}: {how}; reboot" if how else f"boot option {words}"


def crash_kernel(machine: Machine) -> str:
    """What sets up kdump."""
    family, names = _family(machine), _names(machine)
    room = boot_option(machine, "crashkernel=256M")
    if machine.has("/run/ostree-booted"):
        return f"{room}; systemctl enable --now kdump"
    if family == _RED_HAT:
        package = "kdump-utils" if names[:1] == ["fedora"] else "kexec-tools"
        return f"dnf install {package}; kdumpctl reset-crashkernel; systemctl enable --now kdump; reboot"
    if family == _SUSE:
        return f"zypper install kdump; systemctl enable kdump; {room}"
    if names[:1] == ["ubuntu"]:
        return "apt install linux-crashdump; reboot"  # it sets the room aside itself
    if family == _DEBIAN:
        return f"apt install kdump-tools; {room}"
    return f"a crash kernel, set up as this distribution has it; {room}"


def _how(machine: Machine, options: tuple[str, ...]) -> str | None:
    if machine.has("/run/ostree-booted"):
        return "rpm-ostree kargs " + " ".join(f"--append-if-missing={shlex.quote(option)}" for option in options)
    family = _family(machine)
    if family == _RED_HAT:
        return f"grubby --update-kernel=ALL --args={shlex.quote(' '.join(options))}"
    if family == _DEBIAN:
        return f"{_GRUB} update-grub"
    if family == _SUSE:
        if machine.has("/usr/sbin/transactional-update"):
            return f"{_GRUB} transactional-update grub.cfg"
        return f"{_GRUB} grub2-mkconfig -o /boot/grub2/grub.cfg"
    if family == _ARCH:
        return f"{_GRUB} grub-mkconfig -o /boot/grub/grub.cfg"
    return None


def _family(machine: Machine) -> str | None:
    """Whose tools this machine has; None where /etc/os-release does not tell, or has a name that is not known here."""
    return next((_FAMILIES[name] for name in _names(machine) if name in _FAMILIES), None)


def _names(machine: Machine) -> list[str]:
    """The distribution, then those that it is like."""
    told: dict[str, str] = {}
    for line in (machine.text("/etc/os-release") or machine.text("/usr/lib/os-release") or "").splitlines():
        key, equals, value = line.partition("=")
        if equals:
            told[key.strip()] = value.strip().strip("\"'")
    return [told.get("ID", ""), *told.get("ID_LIKE", "").split()]
