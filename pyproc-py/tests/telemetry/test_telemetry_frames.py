"""Telemetry from a worker to its client: both cores."""

import json

import pytest
from reporting import ALL, REPORT, WAITING, result, script, wanting
from wire import CANCEL, RESPONSE, TELEMETRY, Client, frame, frame2, hello, request, request2

# The hello


@pytest.mark.parametrize(
    ("asked", "in_force"),
    [
        ([], []),
        (["cancel"], ["cancel"]),
        (["logs", "unknown"], ["logs"]),
        (["metrics", "spans", "error-details"], ["error-details", "spans", "metrics"]),
    ],
)
def test_the_telemetry_that_was_asked_for_is_in_force(start, asked, in_force):
    client = start(REPORT).connect()
    known = client.say_hello(versions=[1, 2], features=asked)["body"]
    assert known["features"] == in_force
    client.version, client.table = 2, {f["name"]: i for i, f in enumerate(known["functions"])}
    telemetry = sorted(set(in_force) & {"logs", "spans", "metrics"})
    assert client.call("features")["body"] == ([telemetry] if telemetry else [])


def test_version_1_has_no_telemetry_whoever_asks(start):
    client = start(REPORT).connect()
    known = client.say_hello(versions=[1], features=list(ALL))["body"]
    assert known["features"] == ["error-details", "cancel"]
    assert client.call("features")["body"] == []


def test_what_is_sent_when_a_channel_opens_follows_the_answer_to_the_hello(start):
    opened = """
        channels.on_open.append(lambda channel: channel.send(line("opened")))
    """
    client = wanting(start(script(opened)))
    assert client.records() == [{"type": "log", "message": "opened"}]


def test_telemetry_may_be_asked_for_while_a_function_runs(start):
    opened = """
        channels.on_open.append(lambda channel: channel.send(line("opened")))
    """
    worker = start(script(WAITING, opened))
    busy = wanting(worker)
    busy.send(request2(1, "wait_for_event"))
    assert [busy.records()[0]["message"] for _ in range(2)] == ["opened", "it runs"]
    client = wanting(worker)
    assert client.records() == [{"type": "log", "message": "opened"}]
    busy.send(frame2(CANCEL, 1))
    assert result(busy.receive2()) == "told"
    assert result_after_records(client, "report", ["x"]) == [True]


def test_a_hook_that_fails_does_no_harm(start):
    broken = """
        def fail_to_open(channel):
            raise LookupError("broken hook")
        channels.on_open.append(fail_to_open)
        channels.on_open.append(lambda channel: channel.send(line("opened")))
    """
    worker = start(script(broken))
    client = wanting(worker)
    assert client.records() == [{"type": "log", "message": "opened"}]
    worker.wait_for_log("LookupError: broken hook")
    assert client.call("echo", 1)["body"] == 1


# Frames


@pytest.mark.parametrize("method", ["report", "report_async"])
def test_records_arrive_before_the_answer_of_their_call(start, method):
    client = wanting(start(REPORT))
    client.send(request(1, "echo", 0), request(2, method, ["a", "b"]))
    messages = [client.receive2() for _ in range(4)]
    told = [m["payload"] for m in messages if m["kind"] == TELEMETRY]
    assert told == [b'{"type": "log", "message": "a"}\n', b'{"type": "log", "message": "b"}\n']
    (answer,) = (m for m in messages if m["id"] == 2)
    assert messages.index(answer) == 3 or messages[3]["id"] == 1
    assert result(answer) == [True, True]


def test_a_frame_of_telemetry_has_an_empty_header(start):
    client = wanting(start(REPORT))
    client.send(request(1, "report", ["é"]))
    line = json.dumps({"type": "log", "message": "é"}).encode() + b"\n"
    assert frame(client.receive_body()) == frame2(TELEMETRY, 0, line)
    client.receive()


def test_nothing_is_sent_unasked(start):
    worker = start(REPORT)
    deaf, listening = worker.connect(version=2), wanting(worker)
    assert deaf.call("report_everywhere", "x")["body"] == [True]
    assert listening.records() == [{"type": "log", "message": "x"}]
    assert deaf.call("echo", 1)["body"] == 1


def test_telemetry_from_a_client_is_skipped(start):
    client = wanting(start(REPORT))
    client.send(frame2(TELEMETRY, 0, b"{}\n"), request(1, "echo", 1))
    assert client.receive()["body"] == 1


def test_lines_too_long_for_a_frame_are_refused(start):
    long = """
        @expose
        def report_long(size: int):
            lines = b"x" * (size - 1) + b"\\n"
            return current_call().channel.send(lines)
    """
    client = wanting(start(script(long), PYPROC_MAX_FRAME_SIZE="4096"))
    assert client.call("report_long", 4096 - 11)["body"] is False
    client.send(request(1, "report_long", 4096 - 12))
    assert len(client.receive_body()) == 4096
    assert client.receive()["body"] is True


FLOOD = """
    KIB = line("x" * 991)[:1023] + b"\\n"

    @expose
    def flood(req):
        "Sends until nothing more is taken; the number of lines that were."
        send, count = current_call().channel.send, 0
        while send(KIB):
            count += 1
        return count
"""


def test_a_client_that_does_not_read_is_sent_no_more_and_the_worker_goes_on(start):
    worker = start(script(FLOOD))
    deaf, other = wanting(worker), worker.connect(version=2)
    deaf.send(request(1, "flood"))
    assert other.call("echo", 1)["body"] == 1  # after the flood: plain functions run in turn
    kinds, bytes_ = [], 0
    while not kinds or kinds[-1] == TELEMETRY:
        message = deaf.receive2()
        kinds.append(message["kind"])
        bytes_ += len(message["payload"])
    assert kinds[-1] == RESPONSE
    assert json.loads(message["payload"]) == len(kinds) - 1
    assert 1 << 20 < bytes_ < 8 << 20, "a mebibyte waits, beyond what the system took"
    assert result_after_records(deaf, "report", ["again"]) == [True]


def result_after_records(client, method, body):
    client.send(request(9, method, body))
    while (message := client.receive2())["kind"] == TELEMETRY:
        pass
    return result(message)


def test_frames_stay_whole_and_in_order_when_threads_send(start):
    threads = """
        @expose
        def report_from_threads(count: int):
            channel = current_call().channel
            def work(name):
                for number in range(count):
                    assert channel.send(line([name, number]))
            threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    """
    client = wanting(start(script(threads)))
    client.send(request(1, "report_from_threads", 100))
    told = [client.records()[0]["message"] for _ in range(400)]
    for name in range(4):
        assert [number for who, number in told if who == name] == list(range(100))
    assert client.receive()["ok"]


def test_destructors_and_handlers_of_signals_may_send(start):
    interruptions = """
        import signal

        class Leaver:
            def __init__(self):
                self.circle = self
                self.channel = current_call().channel
            def __del__(self):
                self.channel.send(line("gone"))

        @expose
        def interrupted(count: int):
            call = current_call()
            signal.signal(signal.SIGALRM, lambda *_: call.channel.send(line("alarm")))
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            gc.set_threshold(5)
            for number in range(count):
                Leaver()
                call.channel.send(line("plain"))
            signal.setitimer(signal.ITIMER_REAL, 0)
            gc.collect()
            return count
    """
    client = wanting(start(script(interruptions)))
    client.send(request(1, "interrupted", 300))
    told = []
    while (message := client.receive2())["kind"] == TELEMETRY:
        told.append(json.loads(message["payload"])["message"])
    assert result(message) == 300
    assert told.count("plain") == told.count("gone") == 300


# Who does not get it


def test_a_closed_channel_takes_nothing(start):
    worker = start(
        script("""
        opened, closed = [], []
        channels.on_open.append(opened.append)
        channels.on_close.append(closed.append)

        @expose
        def after_close(req):
            return {
                "open": len(channels.opened),
                "closed": closed == opened,
                "sent": [channel.send(line("x")) for channel in opened],
            }
    """)
    )
    wanting(worker).close()
    client = worker.connect(version=2)
    while (told := client.call("after_close")["body"])["open"]:
        pass
    assert told == {"open": 0, "closed": True, "sent": [False]}


def test_a_channel_is_closed_whose_client_came_while_the_last_function_ran(start, core):
    last = """
        channels.on_open.append(lambda channel: print("opened", file=sys.stderr))
        channels.on_close.append(lambda channel: print("closed", file=sys.stderr))

        @expose
        def gate_and_exit(req):
            with open(req["gate"]) as gate:
                gate.read()
            sys.exit(3)
    """
    worker = start(script(last))
    first, gate = worker.connect(version=2), worker.gate()
    first.send(request(1, "gate_and_exit", gate.body))
    with gate.entered():
        late = Client(worker.path)
        late.send(bytes(hello(versions=[1, 2], features=["spans"])))
        if core == "native":  # the other one sees its sockets when the function is over
            worker.wait_for_log("opened")
            late.receive()
    assert worker.exit_code() == 3
    late.close()
    assert worker.stderr().count("opened") == worker.stderr().count("closed")


def test_a_process_that_a_function_forks_sends_nothing(start):
    forking = """
        @expose
        def fork(req):
            channel = current_call().channel
            channel.send(line("parent"))
            child = os.fork()
            if child == 0:
                os._exit(channel.send(line("child")))
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    """
    client = wanting(start(script(forking)))
    client.send(request(1, "fork"))
    assert client.records() == [{"type": "log", "message": "parent"}]
    assert client.receive()["body"] == 0
    assert client.call("echo", 1)["body"] == 1


def test_a_function_is_notified_that_its_client_is_gone_though_it_noticed_first_itself(start):
    noticing = """
        @expose
        def report_until_told(req, cancel_event):
            send = current_call().channel.send
            while send(line("x")):
                pass
            cancel_event.wait()
            print("told", file=sys.stderr)
    """
    worker = start(script(noticing))
    client = wanting(worker)
    client.send(request2(1, "report_until_told"))
    client.records()
    client.close()
    worker.wait_for_log("told")
