"""The network service is honest about what it cannot do yet, and lets no stranger in."""

from pathlib import Path

from services.network.app import running
from services.network.rpc import wireless
from services.network.rpc.access_points import AccessPointRpcs
from services.network.rpc.servicer import SERVICE
from tests.support.identity import Issuer
from tests.support.pending import answers, health, reflected
from tests.support.settings import settings_in

NOT_YET = ("UNIMPLEMENTED", "NOT_IMPLEMENTED_YET")
NO_CREDENTIALS = ("UNAUTHENTICATED", "CREDENTIALS_MISSING")


async def test_every_rpc_is_there_or_says_that_it_is_not(tmp_path: Path) -> None:
    services = [SERVICE, wireless.SERVICE]
    with settings_in(tmp_path) as settings:
        token = Issuer(settings.public_dir).token()
        address = settings.addresses["network"]
        async with running(settings):
            for name, answer in (await answers(address, SERVICE, token)).items():
                assert (answer == NOT_YET) == (name not in vars(AccessPointRpcs)), (name, answer)
            for service in services:
                names = {method.name for method in service.methods}
                assert await answers(address, service, None) == dict.fromkeys(names, NO_CREDENTIALS)
                assert await health(address, service.full_name) == "SERVING"
            assert {service.full_name for service in services} <= await reflected(address, token)
