"""What can be wrong with a node: one small class for each thing, over facts that were gathered before."""

from collections.abc import Sequence

from services.node.domain.diagnosis.certificate import CertificateExpiring, ControllerCertificateExpiring
from services.node.domain.diagnosis.clock import ClockNotSynchronised, ClockWrong
from services.node.domain.diagnosis.controller import ControllerUnreachable
from services.node.domain.diagnosis.disk import DiskNearlyFull, DiskReadOnly
from services.node.domain.diagnosis.engine import EngineDown
from services.node.domain.diagnosis.facts import Check, Facts, Issue
from services.node.domain.diagnosis.heat import TooHot
from services.node.domain.diagnosis.memory import MemoryPressure
from services.node.domain.diagnosis.radios import RadioMissing, RadioStandsIn
from services.node.domain.diagnosis.secrets import SecretsReadable
from services.node.domain.diagnosis.services import ServiceDown
from services.node.domain.diagnosis.settings import SettingsIgnored

CHECKS: Sequence[Check] = (
    DiskReadOnly(),
    DiskNearlyFull(),
    MemoryPressure(),
    TooHot(),
    ClockWrong(),
    ClockNotSynchronised(),
    EngineDown(),
    ServiceDown(),
    RadioMissing(),
    RadioStandsIn(),
    CertificateExpiring(),
    ControllerCertificateExpiring(),
    SecretsReadable(),
    SettingsIgnored(),
    ControllerUnreachable(),
)


def diagnose(facts: Facts) -> list[Issue]:
    """Returns what is wrong, errors first."""
    found = [issue for check in CHECKS if (issue := check.check(facts)) is not None]
    return sorted(found, key=lambda issue: issue.severity != "error")
