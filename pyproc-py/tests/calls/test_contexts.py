"""Each call has a copy of the context variables of its own: both cores."""

import textwrap

import pytest
from conftest import each_version
from reporting import TRACE, ask, result
from wire import request, request2

VARIABLES = """
    import contextvars, dataclasses, decimal

    user = contextvars.ContextVar("user", default=None)
    setting = contextvars.ContextVar("setting")
    setting.set("of the script")

    @expose
    def login(req):
        user.set(req)
        setting.set("of a call")
        decimal.getcontext().prec = 3
        return user.get()

    @expose
    def login_and_fail(req):
        login(req)
        raise ValueError(req)

    @expose
    def login_to_cancel(req, cancel_event):
        return login(req)

    @dataclasses.dataclass
    class Account:
        name: str

        def __post_init__(self):
            login(self.name)

    @expose
    def login_as_read(account: Account):
        return account.name

    @expose
    async def alogin_as_read(account: Account):
        return account.name

    class Sequence(tuple):
        def __iter__(self):
            return iter([login("written")])

    @expose
    def login_as_written(req):
        return Sequence([1])

    @expose
    async def alogin(req):
        return login(req)

    def seen():
        return [user.get(), setting.get("unset"), str(decimal.Decimal(1) / 3)]

    @expose
    def whoami(req):
        return seen()

    @expose
    def whoami_to_cancel(req, cancel_event):
        return seen()

    @expose
    async def awhoami(req):
        return seen()
"""

UNTOUCHED = [None, "of the script", "0." + 28 * "3"]


@each_version
@pytest.mark.parametrize(
    "setter",
    [
        "login",
        "login_to_cancel",
        "login_and_fail",
        "login_as_read",
        "login_as_written",
        "alogin",
        "alogin_as_read",
    ],
)
def test_what_a_call_sets_is_not_seen_by_the_next(start, setter):
    client = start(VARIABLES).connect()
    client.call(setter, {"name": "alice"} if setter.endswith("_as_read") else "alice")
    for seer in ("whoami", "whoami_to_cancel", "awhoami"):
        assert client.call(seer)["body"] == UNTOUCHED, seer


def called_together(client, methods):
    client.send(*(request(id, method, "alice") for id, method in enumerate(methods, 1)))
    return [answer["body"] for _, answer in sorted(client.receive_all(len(methods)).items())]


@each_version
def test_calls_that_came_together_have_a_context_each(start):
    client = start(VARIABLES).connect()
    methods = ["login", "whoami", "login_to_cancel", "whoami_to_cancel"] * 5
    assert called_together(client, methods) == ["alice", UNTOUCHED, "alice", UNTOUCHED] * 5


@each_version
def test_calls_that_came_together_have_a_context_each_though_the_script_sets_nothing(start):
    unset = VARIABLES.replace('setting.set("of the script")', "")
    client = start(unset).connect()
    methods = ["whoami", "whoami", "login", "whoami", "login_as_written", "whoami"] * 5
    nothing = [None, "unset", UNTOUCHED[2]]
    bodies = [nothing, nothing, "alice", nothing, ["written"], nothing] * 5
    assert called_together(client, methods) == bodies
    client.call("login_and_fail", "alice")
    assert client.call("whoami")["body"] == nothing


def test_known_and_unknown_calls_that_came_together_have_a_context_each(start):
    unset = VARIABLES.replace('setting.set("of the script")', "")
    client = start(unset).connect(version=2)
    calls = [(method, trace) for trace in (b"", TRACE) * 3 for method in ("login", "whoami")]
    client.send(
        *(
            request2(id, client.table[method], b'"alice"', trace=trace)
            for id, (method, trace) in enumerate(calls, 1)
        )
    )
    results = {message["id"]: result(message) for message in (client.receive2() for _ in calls)}
    expected = {"login": "alice", "whoami": [None, "unset", UNTOUCHED[2]]}
    assert results == {id: expected[method] for id, (method, _) in enumerate(calls, 1)}


def test_a_call_that_is_known_has_a_context_of_its_own(start):
    client = start(VARIABLES).connect(version=2)
    for trace, headers in ((TRACE, None), (b"", {"a": "b"}), (TRACE, {"a": "b"})):
        assert result(ask(client, "login", "alice", trace=trace, headers=headers)) == "alice"
        for seer in ("whoami", "awhoami"):
            assert result(ask(client, seer, trace=trace, headers=headers)) == UNTOUCHED


def test_an_async_call_that_came_while_a_function_ran_begins_with_what_the_script_set(start, core):
    worker = start(VARIABLES)
    client, gate = worker.connect(), worker.gate()
    client.send(request(1, "gate", gate.body))
    with gate.entered():
        other = worker.connect()
        other.send(request(1, "awhoami"))
        if core == "native":  # it is not started before the gate is open in the other
            assert other.receive()["body"] == UNTOUCHED
    assert client.receive()["ok"]


def test_what_a_thread_of_a_call_sets_stays_there(start):
    threads = """
        import threading

        @expose
        def login_in_a_thread(req):
            context = contextvars.copy_context()
            login_there = (lambda: login(req), lambda: context.run(login, req))
            threads = [threading.Thread(target=each) for each in login_there]
            for thread in threads:
                thread.start()
                thread.join()
            return user.get()
    """
    client = start(textwrap.dedent(VARIABLES) + textwrap.dedent(threads)).connect()
    assert client.call("login_in_a_thread", "alice")["body"] is None
    assert client.call("whoami")["body"] == UNTOUCHED
