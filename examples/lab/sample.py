"""Installs the chute of examples/hello on a node that is new; docker-compose.yml runs it.

Settings: PARADROP_LISTEN, and the file of PARADROP_ADMIN_PASSWORD_FILE or admin-password in PARADROP_HOME.
"""

import io
import os
import sys
import tarfile
import time
from pathlib import Path

import requests

CHUTE = Path(__file__).resolve().parents[1] / "hello"
TIMEOUT_S = 60


def main() -> int:
    """Returns the status of the program: 0 if the chute runs or is not wanted."""
    api = f"http://{os.environ['PARADROP_LISTEN']}/api/v1"
    given = Path(os.environ["PARADROP_ADMIN_PASSWORD_FILE"]).read_text().rstrip("\r\n")
    password = given or (Path(os.environ["PARADROP_HOME"]) / "admin-password").read_text().strip()
    login = {"username": "paradrop", "password": password}
    answer = requests.post(f"{api}/auth/local", json=login, timeout=TIMEOUT_S)
    if answer.status_code == requests.codes.unauthorized:
        print("The password was changed: this node is in use, and gets no sample.")
        return 0
    answer.raise_for_status()
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    if session.get(f"{api}/changes", params={"include_ended": "true"}, timeout=TIMEOUT_S).json():
        print("This node is in use, and gets no sample.")
        return 0
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(CHUTE, ".")
    tar = {"Content-Type": "application/x-tar"}
    upload = session.post(f"{api}/chutes/", data=packed.getvalue(), headers=tar, timeout=TIMEOUT_S)
    upload.raise_for_status()
    change = f"{api}/changes/{upload.json()['change_id']}"
    while "end_time" not in (found := session.get(change, timeout=TIMEOUT_S).json()):
        time.sleep(0.5)
    print(f"The sample chute: {found['status']} {found.get('failure') or ''}")
    return 0 if found["status"] == "succeeded" else 1


if __name__ == "__main__":
    sys.exit(main())
