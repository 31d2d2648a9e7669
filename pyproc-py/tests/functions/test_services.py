"""Classes that are exposed, and methods that are not."""

import functools
import subprocess
import sys
import textwrap

import pytest
from conftest import each_version
from pyproc_worker import expose
from pyproc_worker._functions import registry, services
from pyproc_worker._types.hints import signature_of


@pytest.fixture(autouse=True)
def functions(monkeypatch):
    monkeypatch.setattr(registry, "functions", {})
    monkeypatch.setattr(services.Services, "waiting", [])
    monkeypatch.setattr(services.Services, "are_made", False)
    return registry.functions


def handing_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    "method",
    [
        "def predict(self): ...",
        "def predict(self, text: str): ...",
        "async def predict(self, text: str): ...",
        "@handing_on\n    def predict(self, text: str): ...",
        "def predict(cls, text): ...",
        "@classmethod\n    def predict(cls, text): ...",
        "@classmethod\n    def predict(kind, text): ...",
    ],
)
@pytest.mark.parametrize("within_a_function", [False, True])
def test_a_method_is_refused_when_its_class_is_made(functions, method, within_a_function):
    script = f"class Model:\n    @expose\n    {method}\n"
    if within_a_function:
        script = f"def make():\n{textwrap.indent(script, '    ')}\nmake()"
    with pytest.raises(TypeError, match=r"'predict': it is a method of Model.* on the class") as it:
        exec(script, {"expose": expose, "handing_on": handing_on, "__name__": __name__})
    assert ("kind" in method) or "'self'" in str(it.value) or "'cls'" in str(it.value)
    assert not functions


def test_static_methods_and_functions_in_functions_are_no_methods(functions):
    class Model:
        @staticmethod
        @expose
        def inner(req):
            return ["inner", req]

        @expose
        @staticmethod
        async def outer(req):
            return ["outer", req]

        @expose(name="bare")
        def f(req):
            return ["f", req]

    @expose
    def method(self):
        return ["method", self]

    assert functions["inner"].call(1) == Model.inner(1) == ["inner", 1]
    assert functions["outer"].concurrent
    assert functions["bare"].call(1) == ["f", 1]
    assert functions["method"].call(1) == ["method", 1]


class Base:
    def inherited(self, text: str) -> str:
        return f"{text} of {type(self).__name__}"

    def overridden(self):
        raise NotImplementedError

    def removed(self): ...

    def inherited_generator(self):
        yield


class Model(Base, dict):
    limit = 3
    removed = None
    Kind = int
    __hash__ = object.__hash__

    def __init__(self, count=0):
        self.count = count

    def add(self, by: int = 1) -> int:
        """Adds to the count.

        And more."""
        self.count += by
        return self.count

    async def aadd(self, by: int) -> int:
        return self.add(by)

    def overridden(self):
        return "overridden"

    @classmethod
    def kind(cls, req):
        return [cls.__name__, req]

    @staticmethod
    def static(req):
        return req

    @functools.lru_cache  # noqa: B019
    def cached(self, x: int):
        return x

    add_two = functools.partialmethod(add, by=2)

    @property
    def prop(self):
        raise AssertionError

    def _private(self, req): ...

    def __call__(self, req): ...


PUBLIC = ["aadd", "add", "add_two", "cached", "inherited", "kind", "overridden", "static"]


def test_a_class_exposes_its_public_methods(functions):
    assert expose(Model) is Model
    assert sorted(functions) == [f"Model.{name}" for name in PUBLIC]
    assert functions["Model.add"].doc == "Adds to the count."
    assert str(signature_of(functions["Model.add"].function)) == "(by: int = 1) -> int"
    assert functions["Model.aadd"].concurrent
    services.make_instances()
    assert [functions["Model.add"].call({"by": by}) for by in (1, 4)] == [1, 5]
    assert functions["Model.add_two"].call({}) == 7
    assert functions["Model.kind"].call(1) == ["Model", 1]
    assert functions["Model.static"].call(1) == 1
    assert functions["Model.cached"].call({"x": 2}) == 2
    assert functions["Model.overridden"].call(None) == "overridden"
    assert functions["Model.inherited"].call({"text": "a"}) == "a of Model"


def test_the_name_of_a_class_may_be_another(functions):
    assert expose(name="m")(Model) is Model
    assert sorted(functions) == [f"m.{name}" for name in PUBLIC]
    with pytest.raises(ValueError, match="reserved"):
        expose(name="pyproc.m")(Model)


def test_two_names_of_one_class_have_an_instance_each(functions):
    for name in ("a", "b"):
        expose(name=name)(Model)
    services.make_instances()
    assert [functions[name].call({}) for name in ("a.add", "a.add", "b.add")] == [1, 2, 1]


def test_a_class_that_takes_the_place_of_another_has_the_calls(functions):
    class Other:
        def add(self, by: int):
            return "other"

    expose(Model)
    with pytest.warns(UserWarning, match="'Model.add' was exposed already"):
        expose(name="Model")(Other)
    services.make_instances()
    assert functions["Model.add"].call({"by": 1}) == "other"


def test_a_class_that_is_exposed_while_the_worker_serves_has_its_instance_at_once(functions):
    services.make_instances()
    expose(Model)
    assert functions["Model.add"].call({}) == 1


def test_what_cannot_be_a_service_is_refused_with_the_reason(functions):
    import abc

    class Needy:
        def __init__(self, path): ...

        def f(self, req): ...

    class Abstract(abc.ABC):
        @abc.abstractmethod
        def f(self, req): ...

    class Empty:
        x = 1

    class Generating:
        def f(self, req): ...

        def g(self, req):
            yield

    for cls, reason in (
        (Needy, "'Needy'.* missing a required argument: 'path'"),
        (Abstract, "'Abstract': it is abstract, without f"),
        (Empty, "'Empty': it has no public methods"),
        (Generating, "'Generating.g'"),
        (int, "'int': it has no public methods"),
    ):
        with pytest.raises(TypeError, match=reason):
            expose(cls)
    assert not functions


SERVICE = """
    import asyncio

    @expose
    class Counter:
        "Counts."

        def __init__(self):
            print("made", file=sys.stderr)
            self.count = 0

        def add(self, by: int) -> int:
            self.count += by
            return self.count

        async def aadd(self, by: int) -> int:
            await asyncio.sleep(0)
            return self.add(by)

        def join(self, a: str, b: str) -> str:
            return a + b

        def search(self, req, cancel_event):
            return cancel_event.is_set()

        @staticmethod
        def static(req):
            return req

        @classmethod
        def kind(cls, req):
            return cls.__name__
"""


@each_version
def test_state_persists_across_calls_of_a_service(start):
    worker = start(SERVICE)
    client = worker.connect()
    bodies = [client.call(method, {"by": 2})["body"] for method in ("Counter.add", "Counter.aadd")]
    assert bodies == [2, 4]
    assert worker.connect().call("Counter.add", {"by": 1})["body"] == 5
    assert client.call("Counter.search")["body"] is False
    assert client.call("Counter.static", [1])["body"] == [1]
    assert client.call("Counter.kind")["body"] == "Counter"
    assert client.call("health")["body"]["status"] == "healthy"
    before, ready, _ = worker.stderr().partition("serving on")
    assert ready
    assert before.count("made") == worker.stderr().count("made") == 1


def test_the_hello_describes_the_methods_of_a_service(start):
    described = start(SERVICE).connect().say_hello()["body"]["functions"]
    described = {each["name"]: each for each in described}
    assert {name for name in described if name.startswith("Counter")} == {
        f"Counter.{name}" for name in ("aadd", "add", "join", "kind", "search", "static")
    }
    parameters = described["Counter.join"]["parameters"]
    assert parameters["required"] == ["a", "b"]
    assert list(parameters["properties"]) == ["a", "b"]
    assert described["Counter.add"]["returns"] == {"type": "integer"}
    assert described["Counter.aadd"]["concurrent"] is True


FAILING = """
from pyproc_worker import expose, run_worker

@expose
class Model:
    def __init__(self):
        raise {kind}("no model there")

    def predict(self, req):
        return req

run_worker()
"""


@pytest.mark.parametrize("kind", ["RuntimeError", "ValueError"])
@pytest.mark.parametrize("command", [[], ["-m", "pyproc_worker.cli", "run"]])
def test_a_constructor_that_fails_is_a_start_that_fails(folder, core, kind, command, monkeypatch):
    script = folder / "worker.py"
    script.write_text(FAILING.format(kind=kind))
    monkeypatch.setenv("PYPROC_WORKER_CORE", core)
    monkeypatch.setenv("PYPROC_SOCKET_PATH", str(folder / "worker.sock"))
    command = [sys.executable, *command, str(script)]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert "in __init__" in ended.stderr
    assert ended.stderr.endswith(f"{kind}: no model there\n")
    assert "serving on" not in ended.stderr


def test_the_command_lists_and_calls_the_methods_of_a_service(folder):
    script = folder / "worker.py"
    script.write_text("from pyproc_worker import expose\nimport sys\n" + textwrap.dedent(SERVICE))

    def run(*arguments):
        command = [sys.executable, "-m", "pyproc_worker.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    listed = run("list", str(script))
    assert "Counter.add(by: int) -> int\n" in listed.stdout
    assert "made" not in listed.stderr
    assert run("call", str(script), "Counter.add", '{"by": 2}').stdout == "2\n"
