"""The faults: what each was, how it is put back, and what must find it."""

from __future__ import annotations

from dataclasses import dataclass

SIMULATION = "simulation"
NETWORK = "real network"
ATTACKS = "attacks"


@dataclass(frozen=True, slots=True)
class Edit:
    """In this file of the tree, ``old`` becomes ``new``."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Fault:
    """``command`` are the words after ``python`` of the machine that must find it, in a run that is
    as short as it may be. ``test`` is the test that was written for it.
    """

    number: int
    what: str
    edits: tuple[Edit, ...]
    machine: str
    command: tuple[str, ...]
    test: str


SERVER = "hsms_engine/server.py"
TURNS = "hsms_engine/driver/turns.py"
DRIVER = "hsms_engine/driver/driver.py"
TIMERS = "hsms_engine/protocol/timers.py"
ENGINE = "hsms_engine/protocol/engine.py"
DIALLING = "hsms_engine/driver/dialling.py"
TCP = "hsms_engine/driver/tcp.py"


def _simulation(seeds: int) -> tuple[str, ...]:
    return ("-m", "tests.simulation", "--seeds", str(seeds))


def _network(*rows: str) -> tuple[str, ...]:
    return ("-m", "tests.real_network", *rows)


def _attacks(*names: str) -> tuple[str, ...]:
    return ("-m", "tests.attacks", *names)


FAULTS = (
    Fault(
        1,
        "a body that is no SECS-II ends the whole server",
        (
            Edit(
                SERVER,
                "self._contained: type[Exception] = HsmsError if raise_errors else Exception",
                "self._contained: type[Exception] = HsmsError",
            ),
        ),
        ATTACKS,
        _attacks("bodies"),
        "tests/test_server_faults.py::test_one_bad_body_ends_its_own_connection_only",
    ),
    Fault(
        2,
        "a handler that outlives its connection keeps its full inbox, and nobody counts them",
        (
            Edit(SERVER, "        if len(self._outliving) <= most:\n", "        if most:\n"),
            Edit(
                "hsms_engine/protocol/entity.py",
                "while self.waiting_bytes and self.waiting_bytes + size > limit:",
                "while not limit:",
            ),
        ),
        ATTACKS,
        _attacks("outliving"),
        "tests/test_server_bounds.py::test_the_handler_that_has_outlived_longest_is_cancelled_when_there_are_too_many",
    ),
    Fault(
        3,
        "of a peer that never selects whole bodies are kept",
        (Edit(ENGINE, "            epoch.decoder.drop_body()\n", "            pass\n"),),
        ATTACKS,
        _attacks("slow-body"),
        "tests/test_unselected_peers.py::test_a_long_frame_is_not_kept",
    ),
    Fault(
        4,
        "a peer that floods has turns without end",
        (
            Edit(
                TURNS,
                "return self._left <= 0 or self._clock() - self._began >= self._slice.seconds",
                "return False",
            ),
            Edit(TURNS, "return self._slice is SHORT and self.is_heavy", "return False"),
            Edit(
                TURNS,
                "return self._messages >= frames or now - self._program_began >= seconds",
                "return False",
            ),
        ),
        ATTACKS,
        _attacks("junk"),
        "tests/test_turns.py::test_a_slice_ends_by_its_time_and_by_its_frames",
    ),
    Fault(
        5,
        "a loop that was late judges before it reads",
        (Edit(DRIVER, "_QUIET_PASSES = 10\n", "_QUIET_PASSES = 0\n"),),
        SIMULATION,
        _simulation(100),
        "tests/test_late_loop.py::test_a_linktest_that_is_answered_is_no_miss",
    ),
    Fault(
        6,
        "what waits in our own outbox is taken for a silent peer",
        (
            Edit(
                TIMERS,
                "return math.inf if since is None else max(started, since)",
                "return started",
            ),
            Edit(
                TIMERS,
                "if interval is None or outbox.backlog:",
                "if interval is None:",
            ),
            Edit(TIMERS, "if outbox.slow_since is not None:", "if not interval:"),
        ),
        SIMULATION,
        _simulation(150),
        "tests/test_outbox.py::test_t6_of_a_request_starts_when_it_is_wholly_written",
    ),
    Fault(
        7,
        "a burst above inbox_size cuts a link whose program reads",
        (
            Edit(
                ENGINE,
                "return self._exchange.room(size) if self.is_selected else size",
                "return size",
            ),
        ),
        SIMULATION,
        _simulation(40),
        "tests/test_crowded_inbox.py::test_a_burst_three_times_the_inbox_is_taken_by_a_program_that_awaits_once_an_event",
    ),
    Fault(
        8,
        "thousands that start together do not come up",
        (
            Edit(
                "hsms_engine/settings.py",
                "backoff_jitter: float = 0.2\n",
                "backoff_jitter: float = 0.0\n",
            ),
            Edit(DIALLING, "_SLOTS = 64\n", "_SLOTS = 100_000\n"),
            Edit(DIALLING, "_LOOK_UPS = 8\n", "_LOOK_UPS = 40\n"),
            Edit(TCP, "_BACKLOG = 4_096\n", "_BACKLOG = 128\n"),
            Edit(TCP, "_BURST = 16\n", "_BURST = 1\n"),
        ),
        "many links together",
        ("-m", "tests.put_back.together"),
        "tests/test_dialling.py::test_names_that_do_not_resolve_leave_the_programs_threads_and_numbers_alone",
    ),
    Fault(
        9,
        "the second address of a name is never tried",
        (
            Edit(
                DIALLING, "            for each in found:\n", "            for each in found[:1]:\n"
            ),
        ),
        NETWORK,
        _network("first-address-dead"),
        "tests/test_dialling.py::test_an_address_that_refuses_is_followed_by_the_next_at_once",
    ),
    Fault(
        10,
        "half-open connections lock an honest host out",
        (
            Edit(
                SERVER,
                "        for place in self._unselected.get(host, ()):\n",
                "        for place in ():\n",
            ),
        ),
        ATTACKS,
        _attacks("half-open"),
        "tests/test_server_bounds.py::test_the_oldest_of_the_address_with_most_half_open_connections_gives_way",
    ),
    Fault(
        11,
        "after a communication failure the peer hears of it when all is written, or never",
        (Edit(DRIVER, "                    self._closed.reset()\n", "                    pass\n"),),
        NETWORK,
        _network("send-garbage=reply"),
        "tests/test_resets.py::test_a_selected_connection_ends_with_a_reset_after_a_failure_only",
    ),
    Fault(
        12,
        "SIGTERM ends a program without Separate",
        (
            Edit(
                "hsms_engine/process.py",
                '_NAMES = frozenset({"SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"})',
                '_NAMES = frozenset({"SIGINT", "SIGHUP", "SIGBREAK"})',
            ),
        ),
        NETWORK,
        _network("terminated=host", "terminated=equipment"),
        "tests/test_cli.py::test_fake_separates_on_a_signal_and_exits_with_0",
    ),
)
