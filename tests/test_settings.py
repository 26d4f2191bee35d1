"""Settings are validated as a whole, and a bad one says field, value and range."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hsms_engine import Settings, SettingsError
from hsms_engine.settings import OPTIONAL
from hsms_engine.tolerances import TOLERANCES
from statecharts.hsms import timers
from tests.test_second_host import FOR_EVER

# Field, a value just below its range, its least and greatest value, a value just above.
RANGES = [
    ("t3", 0.999, 1, 120, 120.001),
    ("t5", 0.999, 1, 240, 240.001),
    ("t6", 0.999, 1, 240, 240.001),
    ("t7", 0.999, 1, 240, 240.001),
    ("t8", 0.999, 1, 120, 120.001),
    ("connect_timeout", 0.099, 0.1, 240, 240.001),
    ("frame_deadline", 0.999, 1, 3_600, 3_600.001),
    ("write_timeout", 0.099, 0.1, 3_600, 3_600.001),
    ("linger", 0.009, 0.01, 10, 10.001),
    ("linktest_interval", 0.099, 0.1, 86_400, 86_400.001),
    ("breaker_open_time", 0.009, 0.01, 86_400, 86_400.001),
    ("port", -1, 0, 65_535, 65_536),
    ("local_port", -1, 0, 65_535, 65_536),
    ("session_id", -1, 0, 32_767, 32_768),
    ("linktest_threshold", 0, 1, 100, 101),
    ("max_frame", 9, 10, 0xFFFF_FFFF, 0x1_0000_0000),
    ("inbox_size", 0, 1, 1_000_000, 1_000_001),
    ("inbox_bytes", 0, 1, 2**40, 2**40 + 1),
    ("server_inbox_bytes", 0, 1, 2**40, 2**40 + 1),
    ("outbox_size", 0, 1, 2**40, 2**40 + 1),
    ("events_size", 0, 1, 1_000_000, 1_000_001),
    ("breaker_threshold", 0, 1, 1_000, 1_001),
    ("max_sessions", 0, 1, 1_000_000, 1_000_001),
    ("max_connections", 0, 1, 1_000_000, 1_000_001),
    ("max_connections_per_address", 0, 1, 1_000_000, 1_000_001),
    ("accept_rate", 0, 1, 1_000_000, 1_000_001),
    ("accept_rate_per_address", 0, 1, 1_000_000, 1_000_001),
    ("log_body_bytes", 15, 16, 16_777_216, 16_777_217),
    ("backoff_factor", 0.999, 1.0, 10.0, 10.001),
    ("backoff_limit", -0.001, 0.0, 86_400.0, 86_400.001),
    ("backoff_jitter", -0.001, 0.0, 1.0, 1.001),
    ("unreachable_after", 0.999, 1.0, 604_800.0, 604_800.001),
]


NOT_SHOWN = "tls_key_password=(not shown) is not text"
NOT_SEVERAL = "{}={!r} is not several texts: a tuple, or in TOML an array"
UNUSABLE = "{}={!r} cannot be used: {}"


def make(**fields: Any) -> Settings:
    return Settings(**fields)


def test_the_defaults_are_those_of_e37() -> None:
    settings = Settings()
    assert (settings.t3, settings.t5, settings.t6, settings.t7, settings.t8) == (45, 10, 5, 10, 5)
    assert (settings.linktest_interval, settings.linktest_threshold) == (30, 1)
    assert (settings.frame_deadline, settings.write_timeout, settings.linger) == (60, 30, 0.5)
    assert (settings.session_id, settings.check_session_id, settings.port) == (0, True, 5000)
    assert (settings.breaker_threshold, settings.max_sessions) == (5, 1)


def test_every_number_has_its_range_here() -> None:
    fields = {field.name for field in dataclasses.fields(Settings)}
    flags = {
        "check_session_id", "is_equipment", "write_direction_bit", "log_hex", "allow_short_timers",
        *(each.setting for each in TOLERANCES),
    }  # fmt: skip
    texts = {"tls_certificate", "tls_key", "tls_key_password", "tls_authorities", "tls_name"}
    several = {"allowed_networks", "tls_sessions"}
    others = {
        "name", "host", "local_host", "second_host", "text_encoding", *flags, *texts, *several,
    }  # fmt: skip
    assert fields - others == {name for name, *_ in RANGES}


@pytest.mark.parametrize(("field", "below", "lowest", "highest", "above"), RANGES)
def test_a_value_within_its_range_is_taken_and_one_beside_it_is_not(
    field: str, below: float, lowest: float, highest: float, above: float
) -> None:
    for value in (lowest, highest):
        assert getattr(make(**{field: value}), field) == value
    for value in (below, above):
        with pytest.raises(SettingsError) as caught:
            make(**{field: value})
        text = str(caught.value)
        assert text.startswith(f"{field}={value!r} is not")
        assert f" in {lowest:g}..{highest:g}" in text or f" in {lowest}..{highest}" in text


@pytest.mark.parametrize(
    "field",
    [
        field.name
        for field in dataclasses.fields(Settings)
        if field.name not in ("name", "host", "local_host") and not field.name.startswith("tls_")
    ],
)
@pytest.mark.parametrize(
    "value", ["10", None, math.nan, math.inf, -math.inf, [], 10**400], ids=repr
)
def test_what_is_no_number_is_refused_by_name(field: str, value: object) -> None:
    if value is None and field in OPTIONAL:
        assert getattr(make(**{field: None}), field) is None
        return
    with pytest.raises(SettingsError, match=f"^{field}="):
        make(**{field: value})


NUMBERS = [name for name, *_ in RANGES]


@pytest.mark.parametrize("field", NUMBERS)
def test_a_number_in_quotes_is_said_to_be_text(field: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make(**{field: "45"})
    assert re.match(rf"{field}='45' is text, not a (whole )?number in \d", str(caught.value))


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", [True, math.nan, [], 1j], ids=repr)
def test_what_is_no_number_is_said_to_be_none(field: str, value: object) -> None:
    with pytest.raises(SettingsError) as caught:
        make(**{field: value})
    words = rf"{field}={re.escape(repr(value))} is not a (whole )?number in \d"
    assert re.match(words, str(caught.value))


@pytest.mark.parametrize("field", ["t3", "port", "breaker_threshold", "backoff_jitter"])
def test_true_is_no_number(field: str) -> None:
    with pytest.raises(SettingsError, match=f"^{field}=True is not"):
        make(**{field: True})


@pytest.mark.parametrize(
    "networks",
    [
        ("10.1.0.0/16", "10.2.3.4", "fd00::/8", "::1", "::ffff:10.0.0.0/104"),
        (),
    ],
)
def test_networks_are_several_texts(networks: tuple[str, ...]) -> None:
    assert make(allowed_networks=networks).allowed_networks == networks


@pytest.mark.parametrize("field", ["allowed_networks", "tls_sessions"])
@pytest.mark.parametrize("value", ["10.1.0.0/16", ["10.1.0.0/16"], (1,), 7], ids=repr)
def test_what_is_not_several_texts_is_refused(field: str, value: object) -> None:
    with pytest.raises(SettingsError) as caught:
        make(**{field: value})
    assert str(caught.value) == NOT_SEVERAL.format(field, value)


@pytest.mark.parametrize(
    ("network", "why"),
    [
        ("10.1.0.1/16", "10.1.0.1/16 has host bits set"),
        ("10.1.0.0/33", "'10.1.0.0/33' does not appear to be an IPv4 or IPv6 network"),
        ("tool", "'tool' does not appear to be an IPv4 or IPv6 network"),
        ("", "'' does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_what_is_no_network_is_named(network: str, why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make(allowed_networks=("10.0.0.0/8", network))
    assert str(caught.value) == UNUSABLE.format("allowed_networks", network, why)


@pytest.mark.parametrize("rule", ["a=0", "a = 0, 3,5 - 9", "CN with = in it=32767"])
def test_a_rule_says_which_session_ids_a_certificate_may_use(rule: str) -> None:
    assert make(tls_sessions=(rule,)).tls_sessions == (rule,)


WRITE = "write NAME=ID,ID-ID: a name in a certificate, and session ids"


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("", WRITE),
        ("host-1", WRITE),
        ("=0", WRITE),
        ("a=", "'' is no session id, and no range of them, in 0..32767"),
        ("a=0,x", "'x' is no session id, and no range of them, in 0..32767"),
        ("a=9-5", "'9-5' is no session id, and no range of them, in 0..32767"),
        ("a=-1", "'-1' is no session id, and no range of them, in 0..32767"),
        ("a=32768", "'32768' is no session id, and no range of them, in 0..32767"),
        ("a=1-2-3", "'1-2-3' is no session id, and no range of them, in 0..32767"),
        ("a=\u0663", "'\u0663' is no session id, and no range of them, in 0..32767"),
    ],
)
def test_what_is_no_rule_is_named(rule: str, why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make(tls_sessions=(rule,))
    assert str(caught.value) == UNUSABLE.format("tls_sessions", rule, why)


@pytest.mark.parametrize("field", ["tls_certificate", "tls_key", "tls_authorities", "tls_name"])
@pytest.mark.parametrize("value", [None, 7, b"a.pem", "a\0b"], ids=repr)
def test_the_name_of_a_file_is_text(field: str, value: object) -> None:
    with pytest.raises(SettingsError) as caught:
        make(**{field: value})
    assert str(caught.value) == f"{field}={value!r} is not text"


@pytest.mark.parametrize("value", [b"secret", ["secret"], "secret\0"], ids=repr)
def test_a_password_is_never_shown(value: object) -> None:
    settings = make(tls_key_password="secret", tls_key="key.pem")
    assert "secret" not in f"{settings!r} {settings}"
    assert "key.pem" in repr(settings)
    with pytest.raises(SettingsError) as caught:
        make(tls_key_password=value)
    assert str(caught.value) == NOT_SHOWN


@pytest.mark.parametrize(
    "encoding",
    [
        None,
        "gbk",
        "GB18030",
        "cp932",
        "shift-jis",
        "euc_kr",
        "cp949",
        "big5hkscs",
        "utf8",
        "cp1252",
    ],
)
def test_a_text_encoding_is_a_superset_of_ascii(encoding: str | None) -> None:
    assert make(text_encoding=encoding).text_encoding == encoding


UNKNOWN = "no encoding of text that Python knows, such as utf-8, cp932 or gbk"
NO_SUPERSET = (
    "no superset of ASCII: it writes some ASCII as other bytes, or reads it as other characters; "
    "utf-8, cp932, gb18030, cp949, big5hkscs and latin-1 are supersets"
)


@pytest.mark.parametrize(
    ("encoding", "why"),
    [
        ("", UNKNOWN),
        ("chinesisch", UNKNOWN),
        ("hex", UNKNOWN),
        ("rot13", UNKNOWN),
        ("a\0b", UNKNOWN),
        (7, UNKNOWN),
        (b"gbk", UNKNOWN),
        ([], UNKNOWN),
        ("utf-16", NO_SUPERSET),
        ("utf-8-sig", NO_SUPERSET),
        ("utf-7", NO_SUPERSET),
        ("cp037", NO_SUPERSET),
        ("idna", NO_SUPERSET),
        ("iso2022_jp", NO_SUPERSET),
        ("hz", NO_SUPERSET),
        ("unicode_escape", NO_SUPERSET),
        ("undefined", NO_SUPERSET),
    ],
)
def test_what_is_no_superset_of_ascii_is_refused(encoding: object, why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make(text_encoding=encoding)
    expected = UNUSABLE.format("text_encoding", encoding, f"{encoding!r} is {why}")
    assert str(caught.value) == expected


def test_a_link_without_a_text_encoding_does_without_secs_ii() -> None:
    program = (
        "import sys; from hsms_engine.settings import Settings; Settings();"
        "print([name for name in sys.modules if 'secs2' in name])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, encoding="utf-8"
    )
    assert run.stdout == "[]\n"


@pytest.mark.parametrize("value", ["Probe", "", None, 1, ("probe",)])
def test_a_choice_takes_only_its_words(value: Any) -> None:
    assert make(second_host="refuse").second_host == "refuse"
    with pytest.raises(SettingsError, match=r"second_host=.* is not 'probe' or 'refuse'"):
        make(second_host=value)


@pytest.mark.parametrize(
    "field",
    [
        "check_session_id",
        "is_equipment",
        "write_direction_bit",
        "log_hex",
        "allow_short_timers",
        *(each.setting for each in TOLERANCES),
    ],
)
def test_a_flag_is_true_or_false_and_nothing_like_it(field: str) -> None:
    with pytest.raises(SettingsError, match=f"^{field}=1 is not True or False"):
        make(**{field: 1})


@pytest.mark.parametrize(
    "host",
    ["", None, 7, b"tool", "my tool", " tool", "tool\n", "a\tb", "a\0b", "a\u200bb", "a\u00a0b"],
)
def test_a_host_is_a_name_or_an_address(host: object) -> None:
    with pytest.raises(SettingsError) as caught:
        make(host=host)
    assert str(caught.value).startswith(f"host={host!r} is not a host name or address")
    if host != "":
        with pytest.raises(SettingsError, match=r"local_host=.* is not a host name or address"):
            make(local_host=host)


@pytest.mark.parametrize("host", ["tool", "10.1.2.3", "fe80::1%eth0", "a_b-c.example.", "übung.de"])
def test_whatever_may_be_a_name_is_one(host: str) -> None:
    assert make(host=host).host == host
    assert make(local_host=host).local_host == host


@pytest.mark.parametrize("name", ["", "etcher-1", "Ätzer 1, Halle 2", "n" * 100])
def test_a_name_is_for_people(name: str) -> None:
    assert make(name=name).name == name


@pytest.mark.parametrize("name", [None, 7, b"etcher", "two\nlines", "a\tb", "n" * 101])
def test_a_name_that_would_spoil_a_line_of_the_log_is_refused(name: object) -> None:
    with pytest.raises(SettingsError, match=r"^name=.* is not a printable text of up to 100 char"):
        make(name=name)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        make(t3=0, t7=999, port=-1, host="", check_session_id="no")
    for field in ("t3=0", "t7=999", "port=-1", "host=''", "check_session_id='no'"):
        assert field in str(caught.value)


def test_short_timers_need_the_one_switch() -> None:
    assert make(t3=0.001, t7=0.001, allow_short_timers=True).t3 == 0.001
    with pytest.raises(SettingsError, match=r"t3=0\.0009 is not in 0\.001\.\.120 s"):
        make(t3=0.0009, allow_short_timers=True)
    with pytest.raises(SettingsError, match="t3=121"):
        make(t3=121, allow_short_timers=True)


def test_replacing_validates_the_whole() -> None:
    short = make(t3=0.5, allow_short_timers=True)
    with pytest.raises(SettingsError, match=r"t3=0\.5"):
        short.replace(allow_short_timers=False)
    assert short.replace(t6=3).t3 == 0.5
    assert short.t6 == 5


def test_a_name_that_is_no_setting_is_refused_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match=r"unknown setting t9, tt; there are .*, t3, "):
        Settings().replace(t9=1, tt=2)  # type: ignore[call-arg]  # what the test is about


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("sessionid", "session_id"),
        ("T3", "t3"),
        ("linktest", "linktest_interval"),
        ("hots", "host"),
    ],
)
def test_a_name_that_is_nearly_one_is_told_the_one(name: str, meant: str) -> None:
    for take in (Settings, Settings().replace):
        with pytest.raises(SettingsError, match=f"^unknown setting {name}; did you mean '{meant}'"):
            take(**{name: 5})  # type: ignore[arg-type]  # what the test is about


def test_settings_are_what_a_dataclass_is() -> None:
    settings = make(t3=7, host="tool")
    assert pickle.loads(pickle.dumps(settings)) == copy.deepcopy(settings) == settings
    assert [*inspect.signature(Settings).parameters] == [
        field.name for field in dataclasses.fields(Settings)
    ]
    with pytest.raises(TypeError, match="positional"):
        Settings("tool")  # type: ignore[call-arg]  # what the test is about


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().t3 = 3  # type: ignore[misc]  # what the test is about


def test_a_settings_error_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="t3=0"):
        make(t3=0)


def test_every_timer_of_the_charts_has_a_setting_with_its_default() -> None:
    settings = Settings()
    for name in ("T3", "T5", "T6", "T7", "T8", "CONNECT_TIMEOUT", "FRAME_DEADLINE"):
        assert getattr(settings, name.lower()) == getattr(timers, name).seconds
    assert settings.breaker_open_time == timers.OPEN_TIME.seconds
    assert settings.linktest_interval == timers.LINKTEST_INTERVAL.seconds


WARNED = """
import trio
from hsms_engine import serve_hsms

async def serve():
    with trio.move_on_after(0):
        await serve_hsms(print, port=0, linktest_interval=None, second_host="refuse")

trio.run(serve)
"""


def test_a_program_that_has_not_configured_logging_is_warned_once_at_its_own_line(
    tmp_path: Path,
) -> None:
    program = tmp_path / "program.py"
    program.write_text(WARNED, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, program], capture_output=True, check=True, encoding="utf-8", timeout=60
    )
    assert run.stderr.splitlines() == [
        f"{program}:7: UserWarning: {FOR_EVER}",
        '  await serve_hsms(print, port=0, linktest_interval=None, second_host="refuse")',
    ]
