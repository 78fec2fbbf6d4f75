"""Who may be spoken to: encrypted beyond this machine, refused in one line otherwise."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import stat
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from challenge.configs.errors import UserError
from challenge.submissions.judging import access, connection


@pytest.mark.parametrize(
    ("address", "safe"),
    [
        ("tcp://127.0.0.1:8786", True),
        ("tcp://localhost:8786", True),
        ("tcp://[::1]:8786", True),
        ("tls://10.0.0.1:8786", True),
        ("tcp://10.0.0.1:8786", False),
        ("tcp://0.0.0.0:8786", False),
        ("tcp://judge.example.org:8786", False),
        ("ws://judge.example.org:8786", False),
    ],
)
def test_what_is_open_to_others_is_encrypted(address: str, safe: bool) -> None:
    assert access.is_safe(address) is safe


def _refused(address: str, **options: Any) -> str:
    with pytest.raises(UserError) as caught, connection.connect(address, **options):
        pass
    (mistake,) = caught.value.mistakes
    text = str(mistake)
    assert "\n" not in text
    return text


def test_without_dask_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    true = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "distributed" else true(name)
    )
    assert _refused("local") == "--scheduler local: needs Dask; install `challenge[dask]`"


def test_refusals_name_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(connection, "PATIENCE", 0.5)
    assert "is not encrypted" in _refused("tcp://10.0.0.1:8786")
    assert "--certificate" in _refused("tls://127.0.0.1:8786")
    assert "has no `certificate.pem`" in _refused("tls://127.0.0.1:8786", tls=tmp_path)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        assert "no scheduler answers there" in _refused(f"tcp://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "address",
    [
        *("locl", "127.0.0.1:8786", "tls://", "tls://127.0.0.1", "tls://:8786"),
        *("tls://127.0.0.1:notaport", "tls://127.0.0.1:99999", "tcp://127.0.0.1:8786/"),
        *("tls://me@127.0.0.1:8786", "foo://127.0.0.1:1", "inproc://127.0.0.1:1", "tls://[::1"),
    ],
)
def test_what_is_no_address_is_told_before_dask_tries_it(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "Client", None)
    access.make_certificate(tmp_path)
    said = _refused(address, tls=tmp_path)
    assert said.startswith(f"--scheduler {address}: is no address; give `local`, `slurm` or")
    assert _refused(address, option="").startswith(f"{address}: is no address; give an address")


def test_who_speaks_another_language_is_not_called_absent() -> None:
    pytest.importorskip("distributed")

    def hang_up() -> None:
        with contextlib.suppress(OSError):
            while True:
                somebody.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as somebody:
        threading.Thread(target=hang_up, daemon=True).start()
        said = _refused(f"tcp://127.0.0.1:{somebody.getsockname()[1]}")
        somebody.shutdown(socket.SHUT_RDWR)
    assert "that understands this client" in said and "use `tls://` with the certificate" in said


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    for name in ("certificate.pem", "key.pem"):
        (tmp_path / name).write_text("rubbish")
    said = _refused("tls://127.0.0.1:8786", tls=tmp_path)
    assert said.startswith(f"--tls {tmp_path}: has no certificate and key that can be read")


def test_a_certificate_is_made_once_and_its_key_is_ones_own(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    folder = tmp_path / "cluster"
    access.make_certificate(folder)
    assert (folder / "certificate.pem").read_text().startswith("-----BEGIN CERTIFICATE")
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    with pytest.raises(UserError, match="exists already"):
        access.make_certificate(folder)


@pytest.mark.parametrize(
    ("installed", "services", "named"),
    [
        (True, {"dashboard": 8787}, "http://10.0.0.1:8787/status"),
        (True, {}, ""),
        (False, {"dashboard": 8787}, ""),
    ],
)
def test_the_dashboard_is_named_where_there_is_one(
    installed: bool, services: dict[str, int], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: installed or None)
    monkeypatch.setattr(connection, "identity", lambda client: {"services": services})
    client: Any = SimpleNamespace(dashboard_link="http://10.0.0.1:8787/status")
    assert connection.dashboard(client) == named
