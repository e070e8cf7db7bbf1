"""Issues of storage."""

from services.node.domain.diagnosis.facts import Facts, Issue

FULL_PERCENT = 90
VERY_FULL_PERCENT = 97


class DiskNearlyFull:
    """A file system that the node writes to has little space left."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns the issue for the fullest file system."""
        used = {
            disk.path: 100 - 100 * disk.free_bytes / disk.total_bytes
            for disk in facts.disks
            if disk.total_bytes
        }
        path = max(used, key=lambda path: used[path], default="")
        if not path or used[path] < FULL_PERCENT:
            return None
        return Issue(
            "disk-nearly-full",
            "error" if used[path] >= VERY_FULL_PERCENT else "warning",
            f"{used[path]:.0f} % of the file system of {path} are in use.",
            "Remove chutes that are not needed, and images that are not the node's (docker image prune).",
        )


class DiskReadOnly:
    """The kernel has made a file system read-only, as it does after errors of the flash."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns the issue for the first such file system."""
        path = next((disk.path for disk in facts.disks if disk.read_only), None)
        if path is None:
            return None
        return Issue(
            "disk-read-only",
            "error",
            f"The file system of {path} is read-only; nothing can be saved.",
            "Look for errors in the kernel's log (dmesg), check the file system, replace the flash.",
        )
