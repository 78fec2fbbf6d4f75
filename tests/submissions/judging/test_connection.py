"""Who may be spoken to: encrypted beyond this machine, refused in one line otherwise."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import stat
import threading
from collections.abc import Callable
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


def _hang_up(somebody: socket.socket) -> None:
    somebody.accept()[0].close()


def _say_nothing(somebody: socket.socket) -> None:
    with somebody.accept()[0] as other:
        while other.recv(1000):
            pass


def _speak_first(somebody: socket.socket) -> None:
    with somebody.accept()[0] as other:
        other.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 100)
        # Whoever hangs up with something unread takes back what was said.
        while other.recv(1000):
            pass


@pytest.mark.parametrize("behave", [_hang_up, _say_nothing, _speak_first])
def test_who_speaks_another_language_is_not_called_absent(
    behave: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(connection, "PATIENCE", 1.0)

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                behave(somebody)

    with socket.create_server(("127.0.0.1", 0)) as somebody:
        threading.Thread(target=listen, daemon=True).start()
        said = _refused(f"tcp://127.0.0.1:{somebody.getsockname()[1]}")
        somebody.shutdown(socket.SHUT_RDWR)
    assert "that understands this client" in said and "use `tls://` with the certificate" in said
    assert ("it said nothing for 1 s" in said) is (behave is _say_nothing)
    assert ("it said was no greeting of Dask" in said) is (behave is _speak_first)


def test_who_hangs_up_at_once_is_not_called_absent_as_dask_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    comm = pytest.importorskip("distributed.comm")

    async def too_fast(address: str, timeout: float) -> None:
        raise OSError(f"Timed out trying to connect to {address} after {timeout} s")

    monkeypatch.setattr(comm, "connect", too_fast)
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        said = _refused(f"tcp://127.0.0.1:{somebody.getsockname()[1]}")
    assert "that understands this client (Timed out trying to connect" in said


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
