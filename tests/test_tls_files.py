"""The files of TLS: read again when they change, explained when they are bad, silent on secrets."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import ssl
from collections.abc import Callable
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import NameOID

from hsms_engine import (
    ConnectError,
    HsmsServer,
    Settings,
    SettingsError,
    TlsFiles,
    aio,
    blocking,
    cli,
    open_hsms,
    open_link,
    serve_hsms,
)
from hsms_engine.admission import sessions_of
from hsms_engine.driver.tls_files import TlsChoice
from hsms_engine.fake import serve_fake
from hsms_engine.messages import S1F1
from tests.support.certificates import (
    Files,
    authority,
    dialling,
    expired,
    host,
    issued,
    listening,
    write,
)
from tests.support.pair import echo, server_end

SECRET = "open sesame"


def touched(path: str) -> None:
    """Its time is another one, however coarse the clock of the file system is."""
    found = Path(path).stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 5_000_000_000))


@pytest.fixture
def tool(tmp_path: Path) -> Files:
    return write(tmp_path / "tool", issued("127.0.0.1", "tool"))


def settings_of(files: Files, **changes: Any) -> Settings:
    return Settings(
        host="127.0.0.1",
        port=0,
        tls_certificate=files.certificate,
        tls_key=files.key,
        tls_authorities=files.authorities,
        **changes,
    )


def lock(path: str) -> str:
    """Lock a key with the password. The key as it was."""
    unlocked = Path(path).read_text(encoding="utf-8")
    key = serialization.load_pem_private_key(Path(path).read_bytes(), None)
    Path(path).write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(SECRET.encode()),
        )
    )
    return unlocked


# Reading


def test_the_same_context_serves_until_a_file_changes(tool: Files) -> None:
    files = TlsFiles(certificate=tool.certificate, key=Path(tool.key), authorities=tool.authorities)
    first = files.context(listens=True)
    assert first.verify_mode == ssl.CERT_REQUIRED
    assert files.context(listens=True) is first
    for path in tool:
        touched(path)
        second = files.context(listens=True)
        assert second is not first
        first = second
    assert files.context(listens=False) is not first


def test_a_listening_end_without_authorities_asks_nobody_for_a_certificate(tool: Files) -> None:
    files = TlsFiles(certificate=tool.certificate, key=tool.key)
    assert files.context(listens=True).verify_mode == ssl.CERT_NONE


def test_a_dialling_end_without_authorities_trusts_those_of_the_system() -> None:
    for files in (TlsFiles(), TlsFiles(authorities="system")):
        context = files.context(listens=False)
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_authorities_may_be_a_folder_and_those_of_the_system(tool: Files) -> None:
    for authorities in (str(Path(tool.authorities).parent), "system"):
        files = TlsFiles(certificate=tool.certificate, key=tool.key, authorities=authorities)
        assert files.context(listens=True).verify_mode == ssl.CERT_REQUIRED


def test_a_key_may_be_in_the_file_of_its_certificate_and_locked(tool: Files) -> None:
    lock(tool.key)
    whole = Path(tool.certificate)
    whole.write_bytes(whole.read_bytes() + Path(tool.key).read_bytes())
    files = TlsFiles(certificate=whole, password=SECRET)
    assert files.context(listens=True).verify_mode == ssl.CERT_NONE


# What is wrong with them

NO_CERTIFICATE = "TLS: a listening end needs a certificate (tls_certificate), and its key"
LOCKED = "the key is locked, and the password (tls_key_password) does not open it"
OTHER_KEY = "the key is not that of the certificate"
NO_KEY = "there is no key in the file of the certificate: set tls_key"
KEY_ALONE = "TLS: a key (tls_key) is of no use without its certificate"
NOT_ASKED = "tls_sessions needs TLS that asks each peer for a certificate (tls_authorities)"
NO_PEM = "OpenSSL cannot use them ([SSL] PEM lib): each is to be a file of PEM"
EMPTY = (
    "OpenSSL cannot use them ([X509: NO_CERTIFICATE_OR_CRL_FOUND] no certificate or crl found): "
    "each is to be a file of PEM"
)


BAD_FILES = "TLS: the files of {!r}: {}"
KEPT = f"TLS: the files of {{!r}}: {OTHER_KEY}: the files read before go on"
SHOWN = "TlsFiles(certificate='a.pem', key='b.pem', authorities='c.pem')"


def test_the_names_of_files_are_shown_and_the_password_is_not() -> None:
    files = TlsFiles(certificate="a.pem", key="b.pem", authorities="c.pem", password=SECRET)
    assert repr(files) == SHOWN


def _other_key(files: Files) -> None:
    Path(files.key).write_bytes(issued("another").private_key_pem.bytes())


def _lock(files: Files) -> None:
    lock(files.key)


def _no_pem(files: Files) -> None:
    Path(files.certificate).write_text("what is this?", encoding="utf-8")


def _empty(files: Files) -> None:
    Path(files.authorities).write_text("", encoding="utf-8")


BAD: dict[str, tuple[Callable[[Files], None], str]] = {
    "other key": (_other_key, OTHER_KEY),
    "locked": (_lock, LOCKED),
    "no PEM": (_no_pem, NO_PEM),
    "empty": (_empty, EMPTY),
}


def test_a_key_that_is_missing_or_alone_is_told(tool: Files) -> None:
    without = TlsFiles(certificate=tool.certificate)
    with pytest.raises(SettingsError) as caught:
        without.context(listens=True)
    assert str(caught.value) == BAD_FILES.format(without, NO_KEY)
    with pytest.raises(SettingsError) as caught:
        TlsFiles(key=tool.key).context(listens=False)
    assert str(caught.value) == KEY_ALONE


@pytest.mark.parametrize("how", BAD)
def test_files_that_cannot_be_used_are_explained(how: str, tool: Files) -> None:
    spoil, why = BAD[how]
    spoil(tool)
    files = TlsFiles(certificate=tool.certificate, key=tool.key, authorities=tool.authorities)
    with pytest.raises(SettingsError) as caught:
        files.context(listens=True)
    assert str(caught.value) == BAD_FILES.format(files, why)


def test_a_file_that_cannot_be_read_is_named(tool: Files) -> None:
    for position, what in enumerate(("the certificate", "the key", "the authorities")):
        path = f"{tool[position]}.no"
        named = tool._replace(**{Files._fields[position]: path})
        files = TlsFiles(**named._asdict())
        with pytest.raises(SettingsError) as caught:
            files.context(listens=True)
        assert str(caught.value) == unreadable(what, path)


def test_a_folder_is_no_certificate_and_no_key(tool: Files) -> None:
    folder = str(Path(tool.key).parent)
    for what, named in (
        ("the certificate", tool._replace(certificate=folder)),
        ("the key", tool._replace(key=folder)),
    ):
        with pytest.raises(SettingsError) as caught:
            TlsFiles(**named._asdict()).context(listens=True)
        assert str(caught.value) == IS_FOLDER.format(what, folder)


IS_FOLDER = "TLS: cannot read the file of {}, {!r}: Is a directory"


def unreadable(what: str, path: str) -> str:
    return f"TLS: cannot read the file of {what}, {path!r}: No such file or directory"


UNREADABLE = unreadable("the authorities", "c.pem")


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^TLS: "):
        TlsFiles(certificate="a\0b").context(listens=True)


def test_a_listening_end_needs_a_certificate() -> None:
    with pytest.raises(SettingsError) as caught:
        TlsFiles(authorities="system").context(listens=True)
    assert str(caught.value) == NO_CERTIFICATE


# A change that cannot be used


def test_files_that_become_bad_do_not_end_what_was_good(
    tool: Files, caplog: pytest.LogCaptureFixture
) -> None:
    files = TlsFiles(certificate=tool.certificate, key=tool.key)
    good = files.context(listens=True)
    kept = Path(tool.key).read_bytes()
    _other_key(tool)
    touched(tool.key)
    for _ in range(3):
        assert files.context(listens=True) is good
    assert caplog.messages == [KEPT.format(files)]
    Path(tool.key).unlink()
    assert files.context(listens=True) is good
    assert len(caplog.messages) == 2
    Path(tool.key).write_bytes(kept)
    assert files.context(listens=True) is not good
    assert len(caplog.messages) == 2


async def test_a_certificate_is_renewed_without_a_restart(tool: Files) -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(serve_hsms, echo, settings_of(tool, max_sessions=2))
        server: HsmsServer = await nursery.start(serve)

        async def serial() -> str:
            async with open_hsms("127.0.0.1", server.port, tls=host()) as connection:
                assert connection.peer_certificate is not None
                return connection.peer_certificate.serial

        async with open_hsms("127.0.0.1", server.port, tls=host()) as old:
            before = await serial()
            write(Path(tool.certificate).parent, authority().issue_cert("127.0.0.1"), "end")
            for path in tool:
                touched(path)
            after = await serial()
            assert before != after == await serial()
            # What was there before goes on.
            assert (await old.request(S1F1())).name == "S1F2"
            assert old.peer_certificate is not None
            assert old.peer_certificate.serial == before
        nursery.cancel_scope.cancel()


# The settings


async def test_a_server_and_a_link_are_told_of_other_files_while_they_run(
    tool: Files, tmp_path: Path
) -> None:
    mine = write(tmp_path / "host", issued("host-1"))
    worn = write(tmp_path / "worn", expired("127.0.0.1"))
    async with trio.open_nursery() as nursery:
        server: HsmsServer = await nursery.start(partial(serve_hsms, echo, settings_of(worn)))
        changes = settings_of(mine, allow_short_timers=True, t5=0.001, backoff_jitter=0.0)
        async with open_link(changes.replace(port=server.port, breaker_threshold=1_000)) as link:
            with pytest.raises(ConnectError, match="it has expired"):
                await link.connect()
            with pytest.raises(SettingsError, match=r"^TLS: cannot read the file of the key"):
                server.configure(tls_certificate=tool.certificate, tls_key="no.pem")
            with pytest.raises(SettingsError, match=r"^TLS: cannot read the file of the auth"):
                link.configure(tls_authorities="no.pem")
            assert server.settings.tls_certificate == worn.certificate
            server.configure(tls_certificate=tool.certificate, tls_key=tool.key)
            await link.wait_selected()
            assert link.peer_certificate is not None
            assert (await link.request(S1F1())).name == "S1F2"
        nursery.cancel_scope.cancel()


def test_files_that_are_gone_are_used_on_by_who_has_read_them(tool: Files) -> None:
    settings = settings_of(tool)
    choice = TlsChoice(None, listens=False)
    choice.check(settings)
    Path(tool.key).unlink()
    # Those that were read go on.
    assert choice.context(settings) is not None
    with pytest.raises(SettingsError):
        TlsChoice(None, listens=False).context(settings)


def test_files_that_are_checked_for_later_do_not_take_the_place_of_those_in_force(
    tool: Files,
) -> None:
    """Another thread hands settings over, and a connection comes before they are in force."""
    settings, choice = settings_of(tool), TlsChoice(None, listens=False)
    choice.check(settings)
    in_force = choice.context(settings)
    later = settings_of(write(Path(tool.key).parent, issued("elsewhere"), "other"))
    choice.check(later)
    Path(tool.key).unlink()
    assert choice.context(settings) is in_force
    Path(later.tls_key).unlink()
    assert choice.context(later) is not in_force


# Every door


def handler(connection: blocking.HsmsConnection) -> None:
    for primary in connection:
        connection.reply(primary, primary)


def test_threads_have_tls(tool: Files, tmp_path: Path) -> None:
    mine = write(tmp_path / "host", issued("host-1"))
    given = TlsFiles(**mine._asdict())

    def talk(connection: blocking.HsmsConnection) -> None:
        names.append(connection.peer_certificate.name if connection.peer_certificate else "")
        for _ in connection:
            pass

    names: list[str] = []
    with blocking.serve_hsms(talk, settings_of(tool)) as server:
        with blocking.open_hsms("127.0.0.1", server.port, tls=given) as connection:
            assert connection.peer_certificate is not None
            assert connection.peer_certificate.names == ("127.0.0.1", "tool")
        with blocking.open_link("127.0.0.1", server.port, tls=given) as link:
            link.wait_selected(60)
    assert names == ["host-1", "host-1"]


async def asyncio_main(tool: Files, mine: Files) -> list[str]:
    names: list[str] = []

    async def talk(connection: aio.HsmsConnection) -> None:
        names.append(connection.peer_certificate.name if connection.peer_certificate else "")
        async for _ in connection:
            pass

    files = TlsFiles(**tool._asdict())
    async with aio.serve_hsms(talk, "127.0.0.1", 0, tls=files) as server:
        given = TlsFiles(**mine._asdict())
        async with aio.open_hsms("127.0.0.1", server.port, tls=given) as connection:
            assert connection.peer_certificate is not None
        async with aio.open_link("127.0.0.1", server.port, tls=given) as link:
            await link.wait_selected()
    return names


def test_asyncio_has_tls(tool: Files, tmp_path: Path) -> None:
    import asyncio

    mine = write(tmp_path / "host", issued("host-1"))
    assert asyncio.run(asyncio_main(tool, mine)) == ["host-1", "host-1"]


async def test_a_fake_equipment_has_tls_and_misbehaves_above_it(tool: Files) -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(serve_fake, settings_of(tool), ["delay-replies=0.01"])
        equipment = await nursery.start(serve)
        async with open_hsms("127.0.0.1", equipment.port, tls=host()) as connection:
            assert (await connection.request(S1F1())).name == "S1F2"
        await equipment.behave("refuse-select=2")
        with pytest.raises(ConnectError, match="status 2"):
            async with open_hsms("127.0.0.1", equipment.port, tls=host()):
                pass
        with pytest.raises(ConnectError):
            async with open_hsms("127.0.0.1", equipment.port):
                pass
        await equipment.until(lambda: equipment.counts["never selected"] == 2)
        await equipment.kill()
        nursery.cancel_scope.cancel()
    with pytest.raises(SettingsError, match=r"^TLS: a listening end needs"):
        await serve_fake(Settings(port=0, tls_authorities="system"))


# Secrets


async def test_no_log_and_no_error_has_a_secret(
    tool: Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = lock(tool.key)
    settings = settings_of(tool, tls_key_password=SECRET)
    said: list[str] = [repr(settings), repr(TlsFiles(**tool._asdict(), password=SECRET))]
    async with trio.open_nursery() as nursery:
        server: HsmsServer = await nursery.start(partial(serve_hsms, echo, settings))
        async with open_hsms("127.0.0.1", server.port, tls=host()) as connection:
            await connection.request(S1F1())
            said.append(repr(connection))
        with pytest.raises(ConnectError) as caught:
            async with open_hsms("127.0.0.1", server.port, tls=dialling()):
                pass
        said.append(str(caught.value))
        with pytest.raises(SettingsError) as refused:
            server.configure(tls_key_password=f"{SECRET}!", tls_authorities="")
        said.append(str(refused.value))
        nursery.cancel_scope.cancel()
    said += [record.getMessage() + str(vars(record)) for record in caplog.records]
    assert len(said) > 10
    for secret in (SECRET, *key.splitlines()[1:-1]):
        assert not any(secret in each for each in said)


NOT_PICKLED = (
    ": with the password of a key they are not pickled, because whoever has the pickle could read "
    "it: leave it out, and set it where they are used"
)


@pytest.mark.parametrize(
    "made",
    [
        Settings(tls_certificate="a.pem", tls_key_password=SECRET),
        TlsFiles(certificate="a.pem", password=SECRET),
    ],
    ids=["settings", "files"],
)
def test_what_has_a_password_is_copied_and_not_pickled(made: Settings | TlsFiles) -> None:
    assert copy.copy(made) is copy.deepcopy([made])[0] is made
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError) as caught:
            pickle.dumps(made, protocol)
        assert str(caught.value) == f"{type(made).__name__}{NOT_PICKLED}"


def test_without_a_password_they_are_pickled(tool: Files) -> None:
    settings = settings_of(tool)
    files = TlsFiles(**tool._asdict())
    files.context(listens=True)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(settings, protocol)) == settings
        again = pickle.loads(pickle.dumps(files, protocol))
        assert repr(again) == repr(files)
        again.context(listens=True)


# Settings that are refused, or that need TLS


async def test_files_that_were_refused_with_other_settings_change_nothing(tool: Files) -> None:
    settings = settings_of(tool)
    async with trio.open_nursery() as nursery:
        server: HsmsServer = await nursery.start(partial(serve_hsms, echo, settings))
        # The files in force are read on, though they are gone.
        other = write(Path(tool.key).parent, issued("elsewhere"), "other")
        with pytest.raises(SettingsError, match=r"^port=1 cannot"):
            server.configure(
                port=1,
                tls_certificate=other.certificate,
                tls_key=other.key,
                tls_authorities=other.authorities,
            )
        await trio.Path(tool.key).unlink()
        async with open_hsms("127.0.0.1", server.port, tls=host()) as connection:
            assert connection.is_selected
        nursery.cancel_scope.cancel()


NO_TLS = "tls_name is set, and this end has no TLS: set tls_certificate or tls_authorities too"


async def test_what_says_something_of_certificates_needs_tls(tool: Files) -> None:
    table: dict[str, Any] = {"tls_sessions": ("host-1=0",)}
    for files in (Files("", "", ""), tool._replace(authorities="")):
        with pytest.raises(SettingsError) as caught:
            await serve_hsms(echo, settings_of(files, **table))
        assert str(caught.value) == NOT_ASKED
    with pytest.raises(SettingsError) as caught:
        async with open_hsms("127.0.0.1", 1, tls_name="tool", **table):
            pass
    assert str(caught.value) == NO_TLS
    async with trio.open_nursery() as nursery:
        serve = partial(serve_hsms, echo, settings_of(tool, **table))
        server: HsmsServer = await nursery.start(serve)
        with pytest.raises(SettingsError):
            server.configure(tls_certificate="", tls_key="", tls_authorities="")
        server.configure(tls_certificate="", tls_key="", tls_authorities="", tls_sessions=())
        async with open_hsms("127.0.0.1", server.port) as connection:
            assert connection.peer_certificate is None
        nursery.cancel_scope.cancel()


# Names of certificates


def odd(names: x509.ExtensionType) -> trustme.LeafCert:
    """A certificate of the plant with the common name ``odd-1`` and these other names."""
    usual = issued("odd-1")
    before = x509.load_pem_x509_certificate(usual.cert_chain_pems[0].bytes())
    builder = x509.CertificateBuilder(
        before.issuer,
        before.subject,
        before.public_key(),
        before.serial_number + 1,
        before.not_valid_before_utc,
        before.not_valid_after_utc,
        [each for each in before.extensions if each.oid != names.oid],
    )
    key = serialization.load_pem_private_key(authority().private_key_pem.bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = signed.public_bytes(serialization.Encoding.PEM)
    return trustme.LeafCert(usual.private_key_pem.bytes(), pem, [])


ODD: dict[str, tuple[x509.GeneralName, tuple[str, ...]]] = {
    "of a directory": (
        x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])),
        ("tool", "odd-1"),
    ),
    "of an address": (
        x509.IPAddress(IPv6Address("fd00::1")),
        ("tool", "FD00:0:0:0:0:0:0:1", "odd-1"),
    ),
    "of any host": (x509.DNSName("*.example"), ("tool", "*.example", "odd-1")),
}


@pytest.mark.parametrize("how", ODD)
async def test_a_name_of_a_rare_kind_is_no_trouble(how: str) -> None:
    name, names = ODD[how]
    certificate = odd(x509.SubjectAlternativeName([x509.DNSName("tool"), name]))
    rules = ("fd00:0:0::1=0", "host.example=1", "tool=2", "x=3")
    async with (
        server_end(tls=listening(certificate), tls_sessions=rules) as (server, listener),
        open_hsms("tool", 5000, dial=listener.dial, tls=dialling(certificate)) as connection,
    ):
        (accepted,) = server.connections
        for each in (connection, accepted):
            assert each.peer_certificate is not None
            assert each.peer_certificate.names == names
        ids = {0, 2} if how == "of an address" else {2}
        assert sessions_of(names, rules) == ids


NO_TEXT = (
    "the certificate of the peer has a name that is no text: make it a new one ('utf-8' codec "
    "can't decode byte 0xf6 in position 1: invalid start byte)"
)


async def test_a_name_that_is_no_text_is_refused_and_ends_nothing_else() -> None:
    # The names of two hosts, the second one in Latin-1.
    encoded = b"\x30\x0c\x82\x04tool\x82\x04t\xf6ol"
    certificate = odd(x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, encoded))
    async with server_end(tls=listening(certificate)) as (server, listener):
        for tls in (dialling(certificate), host()):
            with pytest.raises(ConnectError) as caught:
                async with open_hsms("tool", 5000, dial=listener.dial, tls=tls):
                    pass
            assert NO_TEXT in str(caught.value)
        assert server.failed_connections == 0


def test_a_program_opens_a_locked_key_with_a_password_of_its_environment(
    tool: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock(tool.key)
    files = ["--tls-certificate", tool.certificate, "--tls-key", tool.key]
    # The address is not here: the files are read before it is listened on.
    fake = ["fake", "--host", "203.0.113.1", *files]
    assert cli.main(fake) == 2
    monkeypatch.setenv("HSMS_TLS_KEY_PASSWORD", SECRET)
    assert cli.main(fake) == 1
    locked, absent = capsys.readouterr().err.splitlines()[-2:]
    assert "the key is locked, and the password (tls_key_password) does not open it" in locked
    assert "cannot listen on 203.0.113.1:5000: " in absent
    assert SECRET not in locked + absent
