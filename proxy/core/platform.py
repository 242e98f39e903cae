"""What a distribution file is for, in words (PyPA specifications, platform compatibility tags)."""

from proxy.core.page import File

_SYSTEMS = (("manylinux", "Linux"), ("linux", "Linux"), ("musllinux", "Alpine"), ("macosx", "macOS"), ("win", "Windows"))
_MACHINES = ("x86_64", "aarch64", "arm64", "universal2", "amd64", "i686", "armv7l", "ppc64le", "s390x", "riscv64", "intel")


def platform_of(file: File) -> str:
    """Gives in words what a file is for, such as `macOS arm64`, `any` or `sdist`; the tag itself where it is an unusual one."""
    tags = file.tags
    if tags is None:
        return file.packaging.value
    tag = tags.platform.partition(".")[0]
    if tag in {"any", "win32"}:
        return {"any": "any", "win32": "Windows 32-bit"}[tag]
    system = next((title for start, title in _SYSTEMS if tag.startswith(start)), "")
    machine = next((each for each in _MACHINES if tag.endswith(each)), "")
    return f"{system} {machine}" if system and machine else tags.platform[:60]
