"""An Orthanc of our own for the time of the tests, spoken to as any archive is: C-STORE, STOW-RS, WADO-RS, QIDO-RS."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileDataset

PROGRAM = "Orthanc"
PLUGIN = "libOrthancDicomWeb.so"
_PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")
_STARTED_WITHIN_S = 20.0
_ANSWERS_WITHIN_S = 20.0
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # nothing here goes through a proxy


def program() -> Path | None:
    """Debian keeps it in /usr/sbin, which is in no user's PATH."""
    found = shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def plugin() -> Path | None:
    """DICOMweb's library."""
    there = (path for folder in _PLUGIN_FOLDERS for path in sorted(Path(folder).glob(f"{PLUGIN}*")))
    return next(there, None)


@dataclass(frozen=True)
class Orthanc:
    """A running archive on loopback."""

    http_port: int
    dicom_port: int

    def get(self, path: str, accept: str = "*/*") -> bytes:
        return self._ask(path, accept=accept)

    def json(self, path: str) -> Any:
        return json.loads(self.get(path, "application/json"))

    def delete(self, path: str) -> None:
        self._ask(path, method="DELETE")

    def clear(self) -> None:
        """Whatever other tests have stored."""
        for patient in self.json("/patients"):
            self.delete(f"/patients/{patient}")

    def c_store(self, dataset: Dataset) -> int | None:
        """The status of the C-STORE: 0 where it was taken, None where the class was not even negotiated."""
        from pynetdicom import AE

        caller = AE(ae_title="MEDCNN-TESTS")
        caller.acse_timeout = caller.dimse_timeout = caller.network_timeout = _ANSWERS_WITHIN_S
        caller.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
        association = caller.associate("127.0.0.1", self.dicom_port)
        assert association.is_established or association.is_rejected or association.is_aborted
        if not association.is_established or not association.accepted_contexts:
            association.abort()
            return None
        try:
            return int(association.send_c_store(dataset).Status)
        finally:
            association.release()

    def stow(self, *paths: Path) -> Any:
        """STOW-RS (PS3.18 10.5): the response's data set as JSON. Raises urllib.error.HTTPError."""
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        parts = [head + path.read_bytes() + b"\r\n" for path in paths]
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return json.loads(self._ask("/dicom-web/studies", body, kind, accept="application/dicom+json"))

    def wado(self, study: str, series: str, instance: str) -> FileDataset:
        """WADO-RS (PS3.18 10.4): the object in the transfer syntax in which it is kept."""
        address = f"/dicom-web/studies/{study}/series/{series}/instances/{instance}"
        (content,) = _parts(
            *self._ask_with_kind(address, 'multipart/related; type="application/dicom"; transfer-syntax=*')
        )
        return pydicom.dcmread(io.BytesIO(content))

    def qido(self, query: str) -> list[dict[str, Any]]:
        """QIDO-RS (PS3.18 10.6), e.g. `studies?PatientID=x`: one DICOM JSON object a match."""
        found: list[dict[str, Any]] = json.loads(self.get(f"/dicom-web/{query}", "application/dicom+json"))
        return found

    def file(self, instance: str) -> FileDataset:
        """Orthanc's own way to a kept object, by its SOP Instance UID."""
        found = json.loads(self._ask("/tools/lookup", instance.encode(), "text/plain"))
        (identifier,) = [item["ID"] for item in found if item["Type"] == "Instance"]
        return pydicom.dcmread(io.BytesIO(self.get(f"/instances/{identifier}/file")))

    def _ask(
        self, path: str, body: bytes | None = None, kind: str = "", *, accept: str = "*/*", method: str | None = None
    ) -> bytes:
        return self._ask_with_kind(path, accept, body, kind, method)[0]

    def _ask_with_kind(
        self, path: str, accept: str, body: bytes | None = None, kind: str = "", method: str | None = None
    ) -> tuple[bytes, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", body, method=method)
        request.add_header("Accept", accept)
        if kind:
            request.add_header("Content-Type", kind)
        with _open(request, timeout=_ANSWERS_WITHIN_S) as answer:
            return answer.read(), answer.headers.get("Content-Type", "")


@contextmanager
def running(folder: Path) -> Iterator[Orthanc]:
    """Started in a folder of its own and stopped at the end. Raises RuntimeError with its last words."""
    said = ""
    for _ in range(3):  # somebody may take a port between its being found free and its being used
        server = Orthanc(*_free_ports(2))
        process = _started(folder, server)
        try:
            if _answers(server, process):
                yield server
                return
            said = (folder / "orthanc.log").read_text(errors="replace")[-800:]
        finally:
            _stop(process)
    raise RuntimeError(f"Orthanc does not start: {said}")


def _started(folder: Path, server: Orthanc) -> subprocess.Popen[bytes]:
    where = program()
    assert where is not None
    (folder / "orthanc.json").write_text(json.dumps(_settings(folder, server)))
    with (folder / "orthanc.log").open("wb") as log:
        command = [str(where), str(folder / "orthanc.json")]
        return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _settings(folder: Path, server: Orthanc) -> dict[str, Any]:
    return {
        "Name": "medcnn tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": server.http_port,
        "DicomPort": server.dicom_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": False,
        "DefaultEncoding": "Utf8",  # of its answers: names in any script
        "UnknownSopClassAccepted": True,  # a LABELMAP segmentation is newer than Debian's Orthanc
        "Plugins": [str(plugin())],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
    }


def _answers(server: Orthanc, process: subprocess.Popen[bytes]) -> bool:
    """Wait until it does. False where it ended."""
    until = time.monotonic() + _STARTED_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            return "DicomAet" in server.json("/system") and "dicom-web" in server.json("/plugins")
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """At once: what it stores is thrown away, and it takes four seconds to leave when asked politely."""
    process.kill()
    process.wait()


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def _parts(body: bytes, kind: str) -> Sequence[bytes]:
    """The contents of a multipart answer; binary, so that the library's parser of mail is none for it."""
    match = re.search(r'boundary="?([^";,]+)', kind)
    assert match is not None, kind
    pieces = (b"\r\n" + body).split(b"\r\n--" + match[1].encode())
    assert pieces[-1].startswith(b"--")
    return [piece.partition(b"\r\n\r\n")[2] for piece in pieces[1:-1]]
