"""Scripts that were written for the Go original's package, its newest version and 0.1.0."""

import inspect
import json
import logging
import socket
import sys
import threading

import pyproc_worker
import pytest
from conftest import each_version
from pyproc_worker import _settings, codec, tracing
from pyproc_worker.cancellation import (
    CancellableOperation,
    CancellationError,
    CancellationManager,
    make_cancellable,
)
from wire import cancellation as cancel
from wire import request

NAMES = """
    import logging
    from typing import Any, Dict
    from pyproc_worker import CancellationError, CancellationManager, Codec, FramedConnection, Worker, get_codec, get_tracing, health, logger, trace_method
    from pyproc_worker import cancellation, codec, tracing
    from pyproc_worker.cancellation import CancellableOperation, make_cancellable
    from pyproc_worker.codec import JSONCodec, default_codec
    from pyproc_worker.tracing import TracingManager, WorkerTracing

    logger.info("before the start")

    @expose
    @trace_method
    def traced(req: Dict[str, Any]) -> Dict[str, Any]:
        return {"got": req, "healthy": health({})["status"]}

    @expose
    @trace_method
    async def traced_async(req):
        return req

    @expose
    def operate(req, cancel_event=None):
        with CancellableOperation(cancel_event, check_interval=1) as operation:
            open(req["runs"], "w").close()
            while True:
                operation.check()
                time.sleep(0.001)

    @expose
    @make_cancellable
    def made_cancellable(req, cancel_event):
        return cancel_event.is_set()

    @expose
    @make_cancellable
    def not_cancellable(req):
        return req
"""

STARTS = {
    "run_worker(path)": "run_worker(PATH)",
    "run_worker(path, codec_type)": 'run_worker(PATH, codec_type="auto")',
    "run_worker(None, codec_type)": 'run_worker(None, "orjson")',
    "Worker(path)": "from pyproc_worker import Worker; Worker(PATH).start()",
    "Worker(path, codec_type)": 'from pyproc_worker import Worker; Worker(PATH, "msgspec").start()',
}


@pytest.mark.parametrize("way", STARTS)
def test_each_way_to_start_a_worker_starts_it(start, way):
    worker = start(serve=f'\nPATH = os.environ["PYPROC_SOCKET_PATH"]\n{STARTS[way]}\n')
    assert worker.connect().call("echo", 1)["body"] == 1


def test_the_path_and_codec_of_the_call_count_without_the_environment(start, core):
    worker = start(serve='\nrun_worker(os.environ.pop("PYPROC_SOCKET_PATH"), "json")\n')
    if core == "python":
        worker.wait_for_log("JSON by json")


def test_the_environments_codec_type_counts_more_than_the_calls(start, core):
    worker = start(serve='\nrun_worker(codec_type="msgspec")\n', PYPROC_CODEC_TYPE="json")
    if core == "python":
        worker.wait_for_log("JSON by json")


def test_a_codec_type_that_is_not_installed_is_no_reason_not_to_start(start, core):
    worker = start(
        """
        sys.modules["msgspec"] = None
        """,
        serve='\nrun_worker(codec_type="msgspec")\n',
    )
    assert worker.connect().call("echo", 1)["body"] == 1


@pytest.mark.parametrize("name", ["PYPROC_JSON", "PYPROC_CODEC_TYPE"])
def test_orjson_means_json_as_this_package_no_longer_uses_it(start, core, name):
    worker = start(serve=f'\nos.environ["{name}"] = "orjson"\nrun_worker(codec_type="orjson")\n')
    if core == "python":
        worker.wait_for_log("JSON by json")
    assert worker.connect().call("echo", 1)["body"] == 1


@pytest.mark.parametrize(
    ("codec_type", "advice"), [("msgpack", "leave it out"), ("xml", "one of auto, msgspec")]
)
def test_other_codec_types_are_refused_with_what_to_use(codec_type, advice):
    with pytest.raises(ValueError, match=advice):
        _settings.codec_of_type(codec_type)
    with pytest.raises(ValueError, match=advice):
        pyproc_worker.Worker("/path", codec_type)


def test_all_names_are_there_and_do_what_they_say(start):
    worker = start(NAMES)
    worker.wait_for_log("INFO:pyproc_worker:before the start")
    client = worker.connect()
    assert client.call("traced", {"a": 1})["body"] == {"got": {"a": 1}, "healthy": "healthy"}
    assert client.call("traced_async", 2)["body"] == 2
    assert client.call("made_cancellable", {})["body"] is False
    assert client.call("not_cancellable", 3)["body"] == 3


@each_version
def test_a_cancelled_operation_is_answered_as_the_original_does(start, version, folder):
    client = start(NAMES).introduced()
    client.send(request(1, "operate", {"runs": str(folder / "runs")}))
    while not (folder / "runs").exists():
        pass
    client.send(cancel(1))
    response = client.receive()
    assert (response["ok"], response["error"]) == (False, "Cancelled: Operation cancelled")
    kind = response["headers"]["pyproc-error-type"]
    assert kind == "pyproc_worker.cancellation.CancellationError"


def test_a_script_that_needs_none_of_the_names_loads_none(start):
    client = start(
        """
        @expose
        def loaded(req):
            return [name for name in sys.modules if name.startswith("pyproc_worker.")]
        """
    ).connect()
    loaded = client.call("loaded")["body"]
    for module in ("_compat", "cancellation", "codec", "tracing"):
        assert f"pyproc_worker.{module}" not in loaded


def test_every_public_name_is_there_and_no_other():
    for name in pyproc_worker.__all__:
        assert getattr(pyproc_worker, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        pyproc_worker.nonsense  # noqa: B018


# cancellation


def test_an_error_of_cancellation_knows_its_request():
    error = CancellationError(7, "why not")
    assert (error.request_id, error.reason) == (7, "why not")
    assert str(error) == "Request 7 cancelled: why not"
    assert isinstance(error, pyproc_worker.Cancelled)


def test_a_manager_tracks_requests():
    manager, called = CancellationManager(), []
    with pytest.raises(CancellationError):
        cancel_while_tracked(manager, called)
    assert called == [1]
    assert not manager.is_cancelled(1)
    assert not manager.cancel_request(1)
    manager.unregister_request(1)
    manager.add_cleanup_callback(1, called.clear)
    with manager.track_request(2) as event:
        assert not event.is_set()


def cancel_while_tracked(manager, called):
    with manager.track_request(1) as event:
        manager.add_cleanup_callback(1, lambda: called.append(1 / 0))
        manager.add_cleanup_callback(1, lambda: called.append(1))
        assert not manager.is_cancelled(1)
        manager.check_cancellation(1)
        assert manager.cancel_request(1)
        assert event.is_set()
        assert not manager.cancel_request(1)
        with pytest.raises(CancellationError):
            manager.check_cancellation(1)


def test_an_operation_looks_at_each_so_many_checks_and_at_the_end():
    event = threading.Event()
    operation = CancellableOperation(event, check_interval=2)
    event.set()
    operation.check()
    with pytest.raises(CancellationError):
        operation.check()
    with pytest.raises(CancellationError, match="at exit"), operation:
        pass
    with pytest.raises(ZeroDivisionError), operation:
        1 / 0  # noqa: B018


def test_a_function_that_was_made_cancellable_takes_an_event():
    wrapper = make_cancellable(lambda request: request)
    assert list(inspect.signature(wrapper).parameters) == ["request", "cancel_event"]
    assert wrapper(1, threading.Event()) == 1


# codec


@pytest.mark.parametrize("name", ["auto", "json", "orjson", "msgspec", "msgpack"])
def test_a_codec_reads_what_it_writes(name):
    it = codec.get_codec(name)
    value = {"text": "größe", "list": [1, 2.5, None, True]}
    assert it.decode(it.encode(value)) == value
    assert isinstance(it, codec.Codec)
    assert isinstance(it.name, str)


def test_a_codec_whose_library_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(ImportError, match="pip install msgspec"):
        codec.get_codec("msgpack")


def test_an_unknown_codec_is_refused():
    with pytest.raises(ValueError, match="Unknown codec type"):
        codec.get_codec("invalid")


# tracing


def test_without_being_enabled_nothing_is_traced(monkeypatch):
    monkeypatch.delenv("PYPROC_TRACING_ENABLED", raising=False)
    worker = tracing.WorkerTracing("mine")
    with worker.trace_request({"method": "f"}) as span:
        assert span is None
    response = {}
    worker.add_response_headers(response)
    assert response == {}
    assert worker.manager.extract_context({}) is None


def test_when_enabled_spans_are_made(monkeypatch):
    monkeypatch.setenv("PYPROC_TRACING_ENABLED", "true")
    worker = tracing.WorkerTracing("mine")
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {"traceparent": f"00-{trace_id}-{span_id}-01"}
    with worker.trace_request({"method": "f", "headers": headers}) as span:
        assert f"{span.get_span_context().trace_id:032x}" == trace_id
        response = {"headers": {}}
        worker.add_response_headers(response)
        assert trace_id in response["headers"]["traceparent"]


# Worker, FramedConnection, logger


def test_a_worker_whose_insides_are_replaced_is_refused():
    with pytest.raises(TypeError, match="decorator"):

        class Mine(pyproc_worker.Worker):
            def _process_request(self, request): ...

    class Other(pyproc_worker.Worker):
        def start(self):
            return "mine"

    assert Other("/path").start() == "mine"


def test_frames_travel_over_a_framed_connection():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        one, other = pyproc_worker.FramedConnection(ours), pyproc_worker.FramedConnection(theirs)
        one.write_message(json.dumps([1, 2]).encode())
        assert other.codec.decode(other.read_message()) == [1, 2]
        ours.sendall(b"\0\0\0\x05abc")
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(RuntimeError, match="complete message"):
            other.read_message()
        theirs.shutdown(socket.SHUT_WR)
        assert one.read_message() is None


def test_the_logger_is_the_packages():
    assert pyproc_worker.logger is logging.getLogger("pyproc_worker")
