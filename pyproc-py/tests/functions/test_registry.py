import asyncio
import functools

import pytest
from pyproc_worker import InvalidRequest, expose
from pyproc_worker._functions import registry


@pytest.fixture
def functions(monkeypatch):
    """The registry, which is as it was again after the test."""
    copy = {name: registry.Exposed(name, it.function) for name, it in registry.functions.items()}
    monkeypatch.setattr(registry, "functions", copy)
    return copy


def test_a_function_is_returned_unchanged(functions):
    def double(req):
        return req * 2

    assert expose(double) is double
    assert expose(name="twice")(double) is double
    assert expose("again")(double) is double
    for name in ("double", "twice", "again"):
        assert functions[name].call(2) == 4


def test_a_name_may_come_without_its_keyword(functions):
    @expose("many", body="fields")
    def several(a: int = 1):
        return a

    @expose("Kept")
    class Named:
        def f(self, req):
            return req

    assert functions["many"].call({"a": 2}) == 2
    assert "Kept.f" in functions
    with pytest.raises(TypeError, match=r"'one'.*'other'"):
        expose("one", name="other")


def test_a_second_function_replaces_the_first_with_a_warning(functions):
    expose(name="f")(lambda req: 1)
    with pytest.warns(UserWarning, match="'f' was exposed already"):
        expose(name="f")(lambda req: 2)
    assert functions["f"].call(None) == 2


def test_health_may_be_replaced_silently(functions):
    expose(name="health")(lambda req: "fine")
    assert functions["health"].call(None) == "fine"


def test_the_same_function_may_be_exposed_again_silently(functions):
    def f(req):
        return req

    expose(f)
    assert expose(f) is f


@pytest.mark.parametrize("name", ["pyproc.hello", "pyproc.mine"])
def test_reserved_names_are_refused(functions, name):
    with pytest.raises(ValueError, match="reserved"):
        expose(name=name)(lambda req: req)
    assert name not in functions


def test_what_has_no_name_is_refused(functions):
    with pytest.raises(TypeError, match="name"):
        expose(object())
    with pytest.raises(TypeError, match="callable"):
        expose(name="seven")(7)


def async_functions():
    async def coroutine(req):
        return req

    class AsyncObject:
        async def __call__(self, req):
            return req

    return [coroutine, AsyncObject(), functools.partial(coroutine, 1)]


def generator_functions():
    def generator(req):
        yield req

    async def stream(req):
        yield req

    class Stream:
        def __call__(self, req):
            yield req

    return [generator, stream, Stream()]


@pytest.mark.parametrize("function", async_functions(), ids=["function", "object", "partial"])
def test_async_functions_are_concurrent(functions, function):
    expose(name="f")(function)
    assert functions["f"].concurrent


def test_plain_functions_are_not_concurrent(functions):
    expose(name="f")(lambda req: req)
    assert not functions["f"].concurrent


@pytest.mark.parametrize("function", generator_functions(), ids=["function", "async", "object"])
def test_generator_functions_are_refused(functions, function):
    with pytest.raises(TypeError, match="generator functions are not supported yet: make 'f'"):
        expose(name="f")(function)
    assert "f" not in functions


def test_a_replaced_function_counts_for_those_who_know_the_old_one(functions):
    expose(name="f")(lambda req: 1)
    known = functions["f"]
    assert known.call(None) == 1
    with pytest.warns(UserWarning, match="replaced"):

        @expose(name="f")
        async def f(req, cancel_event):
            return 2

    assert functions["f"] is known
    assert known.concurrent
    assert known.cancellable


def test_a_plain_function_around_an_async_one_is_exposed(functions):
    async def double(req):
        return 2 * req

    @expose
    @functools.wraps(double)
    def wrapper(req):
        return asyncio.run(double(req))

    assert functions["double"].call(2) == 4


def handing_all_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def with_db(function):
    @functools.wraps(function)
    def wrapper(req):
        return function(req, "db")

    return wrapper


def of_two(req: int, db: str):
    return [req, db]


class Decorated:
    @handing_all_on
    def method(self, req: int, db: str):
        return [req, db]

    @handing_all_on
    def __call__(self, req: int, db: str):
        return [req, db]


@pytest.mark.parametrize(
    "function",
    [with_db(of_two), handing_all_on(with_db(of_two)), with_db(handing_all_on(of_two))],
    ids=["outermost", "within", "around"],
)
def test_a_wrappers_own_signature_counts_and_not_the_hints_of_what_it_wraps(functions, function):
    expose(name="f")(function)
    assert functions["f"].call({"req": "x"}) == [{"req": "x"}, "db"]


@pytest.mark.parametrize(
    "function",
    [
        handing_all_on(of_two),
        handing_all_on(handing_all_on(of_two)),
        functools.partial(handing_all_on(of_two)),
        functools.lru_cache(of_two),
        Decorated(),
        Decorated().method,
    ],
    ids=["one", "two", "partial", "builtin", "object", "method"],
)
def test_of_a_wrapper_that_hands_all_on_the_wrapped_signature_counts(functions, function):
    expose(name="f")(function)
    assert functions["f"].call({"req": 1, "db": "x"}) == [1, "x"]
    with pytest.raises(InvalidRequest, match="'req'"):
        functions["f"].call({"req": "no", "db": "x"})


def positional_only():
    def first(a, /, b): ...
    def second(a, b, /): ...
    def event(a, cancel_event, /): ...
    def keyword(a, /, *, b): ...

    return [first, second, event, keyword]


@pytest.mark.parametrize("function", positional_only(), ids=lambda function: function.__name__)
def test_positional_only_parameters_that_no_body_can_fill_are_refused(functions, function):
    with pytest.raises(TypeError, match=r"cannot expose.*positional-only"):
        expose(name="f")(function)
    assert "f" not in functions


def test_a_positional_only_parameter_that_takes_the_whole_body_is_exposed(functions):
    def f(a, b=1, /, *, c=2):
        return [a, b, c]

    expose(f)
    assert functions["f"].call({"a": 5}) == [{"a": 5}, 1, 2]


def test_hints_may_name_classes_that_come_later(functions):
    names = {"expose": expose, "__name__": __name__}
    exec(
        "from __future__ import annotations\n"
        "@expose\n"
        "def later(point: Later): return point.x\n"
        "import dataclasses\n"
        "class Later:\n"
        "    x: int\n"
        "    def __init__(self, x): self.x = x\n"
        "Later.__annotations__ = {'x': int}\n"
        "Later = dataclasses.dataclass(Later, init=False)\n",
        names,
    )
    assert functions["later"].call({"x": 7}) == 7
    with pytest.raises(InvalidRequest, match="field 'x'"):
        functions["later"].call({"x": "7"})
