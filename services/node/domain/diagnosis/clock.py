"""Issues of time."""

from datetime import UTC, datetime

from services.node.domain.diagnosis.facts import Facts, Issue

DAY_S = 86400


class ClockWrong:
    """The clock shows a time before this software was made: certificates and tokens will seem wrong."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns the issue if the clock is more than a day behind."""
        if facts.time_s >= facts.built_s - DAY_S:
            return None
        shown = datetime.fromtimestamp(facts.time_s, UTC).date()
        return Issue(
            "clock-wrong",
            "error",
            f"The clock says {shown}, which is before this software was made.",
            "Give the node a way to a time server (NTP, port 123), or set the clock with 'date -s'.",
            fixable=facts.can_synchronise,
        )


class ClockNotSynchronised:
    """The kernel's clock is not disciplined by anything."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns the issue if the kernel says so."""
        if facts.clock_synchronised is not False:
            return None
        return Issue(
            "clock-not-synchronised",
            "warning",
            "Nothing keeps the clock right; times in logs and of tokens will drift.",
            "Run a time client: 'timedatectl set-ntp true', or install chrony.",
            fixable=facts.can_synchronise,
        )
