"""Where a store is: what a URL may be, and that no text has the password."""

from __future__ import annotations

import pickle
import ssl
from pathlib import Path

import pytest

from hsms_engine import TlsFiles
from hsms_engine.errors import LeaseSetupError, SettingsError
from hsms_engine.lease import RedisLease, RedisStore
from hsms_engine.lease.address import StoreAddress, access_to, parse


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", StoreAddress("localhost")),
        ("redis://localhost/", StoreAddress("localhost")),
        ("valkey://127.0.0.2:1", StoreAddress("127.0.0.2", 1)),
        ("redis://[::1]:7000/2", StoreAddress("::1", 7000, 2)),
        ("REDIS://LOCALHOST", StoreAddress("localhost")),
        ("rediss://store.plant", StoreAddress("store.plant", tls=True)),
        ("valkeys://10.0.0.1:6380/15", StoreAddress("10.0.0.1", 6380, 15, tls=True)),
        ("redis://:p%40ss@localhost", StoreAddress("localhost", password="p@ss")),
        ("redis://me@localhost", StoreAddress("localhost", user="me")),
        ("redis://m%20e:%2F%3F%23@[::1]", StoreAddress("::1", user="m e", password="/?#")),
    ],
)
def test_a_url_says_where_a_store_is(url: str, address: StoreAddress) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "begins with something else"),
        ("localhost", "begins with something else"),
        ("localhost:6379", "begins with something else"),
        ("hunter2@localhost", "begins with something else"),
        ("http://localhost", "begins http:"),
        ("unix:///run/redis.sock", "begins with something else"),
        ("redis:", "names no host"),
        ("redis://", "names no host"),
        ("redis://:hunter2@", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://localhost:0", "names port 0"),
        ("redis://localhost:65536", "cannot be read"),
        ("redis://localhost:x", "cannot be read"),
        ("redis://me:hunter2/x@localhost", "cannot be read"),
        ("redis://[::1", "cannot be read"),
        ("redis://localhost?db=hunter2", "after ? or #"),
        ("redis://me:hunter2#x@localhost", "cannot be read"),
        ("redis://localhost#hunter2", "after ? or #"),
        ("redis://localhost/x", "something other than the number of a database"),
        ("redis://localhost/1/2", "something other than the number of a database"),
        ("redis://localhost/-1", "something other than the number of a database"),
        ("redis://localhost/1234567890", "something other than the number of a database"),
        ("redis://localhost/\N{SUPERSCRIPT TWO}", "something other than the number of a database"),
        ("redis://local host", "a blank or a control character"),
        ("redis://localhost\n", "a blank or a control character"),
        ("redis://:hunter2\x1b@localhost", "a blank or a control character"),
        ("redis://:hunter2@store.plant", "is on another machine"),
        ("valkey://10.0.0.1", "is on another machine"),
        ("redis://0.0.0.0", "is on another machine"),
        ("redis://127.0.0.1.evil", "is on another machine"),
    ],
)
def test_a_url_that_cannot_be_has_one_line_without_its_password(url: str, why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        RedisStore(url)
    said = str(caught.value)
    assert why in said
    assert said.isprintable()
    assert "hunter2" not in said
    # The error of the library may show the URL.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_password_comes_from_the_url_a_file_or_the_environment(tmp_path: Path) -> None:
    environment = {"HSMS_STORE_PASSWORD": "from outside"}
    assert access_to("redis://localhost", environment={}).password() == ""
    assert access_to("redis://localhost", environment=environment).password() == "from outside"
    named = access_to("redis://:here@localhost", environment=environment)
    assert named.password() == "here"
    file = tmp_path / "password"
    access = access_to("redis://localhost", password_file=file, environment=environment)
    for content in (b"in a file", b"in a file\n", b"in a file\r\n"):
        file.write_bytes(content)
        assert access.password() == "in a file"
    for each in (named, access):
        for secret in ("here", "from outside", "in a file"):
            assert secret not in f"{each!r}{each.address}{each.address!r}"
    with pytest.raises(SettingsError, match="a password in the URL and a file of one") as caught:
        access_to("redis://:hunter2@localhost", password_file=file)
    assert "hunter2" not in str(caught.value)


def test_a_file_without_a_password_says_so(tmp_path: Path) -> None:
    file = tmp_path / "password"
    access = access_to("redis://localhost", password_file=file)
    for content, why in (
        (None, "cannot be read: No such file or directory"),
        (b"", "is to have one line: the password"),
        (b"\n", "is to have one line: the password"),
        (b"one\ntwo\n", "is to have one line: the password"),
        (b"a\0b", "is to have one line: the password"),
        (b"\xff", "is no text of UTF-8"),
        (b"x" * 5000, "is longer than 4096 bytes"),
    ):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(LeaseSetupError, match=why):
            access.password()
    for path in (tmp_path, "a\0b"):
        with pytest.raises(LeaseSetupError, match="cannot be read: "):
            access_to("redis://localhost", password_file=path).password()


def test_tls_needs_a_url_with_tls() -> None:
    for tls in (TlsFiles(), ssl.create_default_context()):
        with pytest.raises(SettingsError, match="the URL is without TLS: write rediss://"):
            RedisStore("redis://localhost", tls=tls)
    context = ssl.create_default_context()
    assert access_to("rediss://localhost", tls=context).context() is context
    assert access_to("redis://localhost").context() is None
    found = access_to("rediss://localhost").context()
    assert found is not None
    assert found.verify_mode is ssl.CERT_REQUIRED
    assert found.check_hostname
    assert found.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("prefix", ["", "a b", "{a}", "a*", "x" * 65, "ä", "a\n"])
def test_a_prefix_can_be_written_everywhere(prefix: str) -> None:
    with pytest.raises(SettingsError, match="the prefix"):
        RedisStore("redis://localhost", prefix=prefix)


def test_a_store_and_a_lease_say_what_they_are() -> None:
    store = RedisStore("redis://:hunter2@localhost", prefix="plant.1", duration=5)
    assert repr(store) == "RedisStore('localhost:6379', prefix='plant.1')"
    assert (store.address, store.prefix, store.duration) == ("localhost:6379", "plant.1", 5)
    assert store.key("lease", "T") == "{plant.1}:lease:T"
    lease = RedisLease("redis://:hunter2@[::1]", "T", "me", duration=5, prefix="plant.1")
    assert repr(lease) == (
        "RedisLease('T', owner='me', store=RedisStore('[::1]:6379', prefix='plant.1'))"
    )
    assert (lease.name, lease.owner, lease.duration) == ("T", "me", 5)


@pytest.mark.parametrize("duration", [0.5, 601.0, float("nan")])
def test_the_length_of_a_lease_is_bounded(duration: float) -> None:
    with pytest.raises(SettingsError, match="of a lease is not from 1 to 600 seconds"):
        RedisStore("redis://localhost", duration=duration)


def test_a_lease_is_not_shorter_in_the_store_than_for_its_owner() -> None:
    for duration in (1.0, 1.001, 1.0001, 2.5, 600.0):
        assert RedisStore("redis://localhost", duration=duration).length >= duration * 1000
    assert RedisStore("redis://localhost", duration=10.0).length == 10_000


def test_no_pickle_has_a_password() -> None:
    store = RedisStore("redis://:hunter2@localhost")
    for each in (store, store.lease("T")):
        with pytest.raises(TypeError, match="is not pickled: "):
            pickle.dumps(each)
