"""Which records are made where nobody has set a level, and what becomes of them before a client is there."""

import os
import subprocess
import sys
import textwrap

import pytest
from reports import Taker

SAY = """
    import logging

    @expose
    def say(name):
        for level in (10, 20, 30):
            logging.getLogger(name).log(level, "x")

    @expose
    def root_level(req):
        return logging.getLogger().level

    @expose
    def import_beside(req):
        import helper
        import tools.wrench
        helper.say()
        tools.wrench.say()
"""

OTHERS = ("urllib3", "urllib3.connection", "shop", "")
OWN = ("__main__", "__main__.part", "helper", "helper.part", "tools", "tools.wrench")

MODULE = """
import logging
logging.getLogger(__name__).info("loaded")
def say():
    logging.getLogger(__name__).info("called")
"""


def levels(taker, name):
    taker.records.clear()
    taker.result("say", name)
    return [record["level"] for record in taker.of_type("log")]


@pytest.fixture
def modules(folder):
    """Beside the script."""
    (folder / "helper.py").write_text(MODULE)
    (folder / "tools").mkdir()
    (folder / "tools" / "__init__.py").write_text("")
    (folder / "tools" / "wrench.py").write_text(MODULE)


@pytest.mark.usefixtures("modules")
def test_the_script_and_modules_beside_it_are_at_info_and_all_else_at_warning(start):
    taker = Taker(start(SAY), "logs")
    taker.result("import_beside")
    said = [(record["logger"], record["message"]) for record in taker.of_type("log")]
    assert said == [
        ("helper", "loaded"),
        ("tools.wrench", "loaded"),
        ("helper", "called"),
        ("tools.wrench", "called"),
    ]
    assert {name: levels(taker, name) for name in OTHERS} == {name: [30] for name in OTHERS}
    assert {name: levels(taker, name) for name in OWN} == {name: [20, 30] for name in OWN}
    assert taker.result("root_level") == 30


@pytest.mark.parametrize(
    ("more", "environment", "expected"),
    [
        ("", {"PYPROC_LOG_LEVEL": "debug"}, [10, 20, 30]),
        ("", {"PYPROC_LOG_LEVEL": "info"}, [20, 30]),
        ("", {"PYPROC_LOG_LEVEL": "warning"}, [30]),
        ("logging.basicConfig(level='DEBUG')", {}, [10, 20, 30]),
        ("logging.basicConfig(level='WARNING')", {}, [30]),
        ("logging.getLogger().setLevel('ERROR')", {}, []),
        ("logging.getLogger().setLevel('ERROR')", {"PYPROC_LOG_LEVEL": "debug"}, []),
    ],
)
def test_a_level_of_the_user_or_the_environment_is_that_of_all(folder, more, environment, expected):
    script = f"""
        import atexit, logging, signal, sys, pyproc_worker
        {more}
        def tell():
            for name in ("__main__", "urllib3"):
                print([n for n in (10, 20, 30) if logging.getLogger(name).isEnabledFor(n)])
        atexit.register(tell)
        ends = lambda event, _: event == "socket.bind" and signal.raise_signal(signal.SIGINT)
        sys.addaudithook(ends)
        pyproc_worker.run_worker()
        """
    (folder / "worker.py").write_text(textwrap.dedent(script))
    worker = subprocess.run(
        [sys.executable, str(folder / "worker.py")],
        env={**os.environ, "PYPROC_SOCKET_PATH": str(folder / "s"), **environment},
        capture_output=True,
        text=True,
    )
    assert worker.returncode == 130, worker.stderr
    assert worker.stdout == f"{expected}\n" * 2


def test_levels_of_loggers_are_theirs(start):
    more = """
    logging.getLogger("urllib3").setLevel("DEBUG")
    logging.getLogger("__main__").setLevel("ERROR")
    """
    taker = Taker(start(SAY + more), "logs")
    assert levels(taker, "urllib3.connection") == [10, 20, 30]
    assert levels(taker, "__main__.part") == []


@pytest.mark.parametrize("order", ["logging, pyproc_worker", "pyproc_worker, logging"])
def test_what_is_logged_while_the_script_is_loaded_is_not_lost(start, order):
    worker = start(
        f"""
    import {order}
    log = logging.getLogger(__name__)
    log.debug("not heard")
    log.info("it is %d", 1)
    logging.getLogger("library").info("not heard")
    logging.getLogger("library").warning("look")
    try:
        raise ValueError("oh")
    except ValueError:
        log.exception("it failed")
    """.replace("\n    from pyproc_worker", "\n    import os")
    )
    before = worker.stderr().split("INFO:pyproc_worker:serving on")[0]
    assert before.startswith(
        "INFO:__main__:it is 1\nWARNING:library:look\nERROR:__main__:it failed\nTraceback (most"
    )
    assert before.endswith("\nValueError: oh\n")
    assert "not heard" not in before


def test_a_script_may_still_set_up_logging_itself(start):
    worker = start(
        """
    import logging
    logging.getLogger(__name__).info("before")
    logging.basicConfig(format="mine: %(message)s", level="INFO")
    logging.getLogger(__name__).info("after")
    """
    )
    assert worker.stderr().startswith("INFO:__main__:before\nmine: after\nmine: serving on ")


def test_whoever_imports_the_package_elsewhere_keeps_his_own_logging():
    """The environment does not say that the process is a worker."""
    script = textwrap.dedent(
        """
        import faulthandler, logging, pyproc_worker
        assert logging.lastResort.level == logging.WARNING
        assert not logging.getLogger("__main__").isEnabledFor(logging.INFO)
        assert not faulthandler.is_enabled()
        """
    )
    subprocess.run([sys.executable, "-c", script], check=True)


FAULTS = """
    import faulthandler
    {more}

    @expose
    def is_on(req):
        return faulthandler.is_enabled()
"""


@pytest.mark.parametrize(
    ("more", "environment", "expected"),
    [
        ("", {}, True),
        ("", {"PYTHONFAULTHANDLER": ""}, True),
        ("", {"PYTHONFAULTHANDLER": "1"}, True),
        ("", {"PYTHONFAULTHANDLER": "0"}, False),
        ("faulthandler.enable()", {"PYTHONFAULTHANDLER": "0"}, True),
    ],
)
def test_the_fault_handler_is_on_unless_the_environment_says_otherwise(
    start, more, environment, expected
):
    worker = start(FAULTS.format(more=more), **environment)
    assert Taker(worker).result("is_on") is expected


def test_the_stack_of_a_crash_is_on_stderr(start):
    worker = start(
        """
    @expose
    def crash(req):
        import ctypes
        ctypes.string_at(0)
    """
    )
    taker = Taker(worker)
    taker.ask("crash")
    worker.exit_code()
    assert "Fatal Python error: Segmentation fault" in worker.stderr()
    assert "in crash" in worker.stderr()


def test_a_file_that_the_script_chose_for_the_fault_handler_stays(start, folder):
    worker = start(
        """
    import faulthandler
    faulthandler.enable(open("%s", "w"))

    @expose
    def crash(req):
        import ctypes
        ctypes.string_at(0)
    """
        % (folder / "crash.txt")
    )
    Taker(worker).ask("crash")
    worker.exit_code()
    assert "in crash" in (folder / "crash.txt").read_text()
    assert "Fatal" not in worker.stderr()
