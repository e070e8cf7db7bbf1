"""Issues of memory."""

from services.node.domain.diagnosis.facts import Facts, Issue

LOW_PERCENT = 10


class MemoryPressure:
    """Programs can get little more memory."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns the issue if too little is available."""
        if not facts.memory_total_bytes:
            return None
        percent = 100 * facts.memory_available_bytes / facts.memory_total_bytes
        if percent >= LOW_PERCENT:
            return None
        return Issue(
            "memory-pressure",
            "warning",
            f"Only {percent:.0f} % of the memory ({facts.memory_available_bytes >> 20} MiB) are available.",
            "Stop chutes that are not needed; GET /api/v1/info/telemetry tells what each of them uses.",
        )
