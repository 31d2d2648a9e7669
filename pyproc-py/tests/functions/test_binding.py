"""Each row of the README's table of parameters, by itself and in workers of both cores."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional  # noqa: F401  # rows name them

import pytest
from pyproc_worker import InvalidRequest, expose

README = Path(__file__).parents[2] / "README.md"


@dataclass
class Point:
    x: int
    y: float = 0.0


def rows():
    """The cells of each row: a function, a body, what the function gets."""
    text = README.read_text(encoding="utf-8")
    table = text.partition("## Parameters")[2].partition("### Hints")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return [[cell.strip("`| ") for cell in row] for row in cells]


def source(function, name="f"):
    """The function of a row, which returns what it gets."""
    decorator, _, definition = function.rpartition("def f")
    return f"{decorator.strip() or '@expose'}\ndef {name}{definition}: return locals()\n"


CALLS = [row for row in rows() if row[1] != "at exposure"]
REFUSED = [row for row in rows() if row[1] == "at exposure"]


def test_the_table_is_found():
    assert len(CALLS) > 25
    assert len(REFUSED) > 2


@pytest.mark.parametrize(("function", "body", "gets"), [(*row, "")[:3] for row in CALLS])
def test_a_function_gets_what_the_table_says(functions, function, body, gets):
    exec(source(function), {**globals(), "expose": expose})
    call = functions["f"].call
    if gets.startswith("InvalidRequest: "):
        with pytest.raises(InvalidRequest) as refused:
            call(json.loads(body))
        assert str(refused.value) == gets.partition(": ")[2]
    else:
        assert call(json.loads(body)) == eval(f"dict({gets})", globals())


@pytest.mark.parametrize(("function", "when", "error"), REFUSED)
def test_a_function_is_refused_as_the_table_says(functions, function, when, error):
    with pytest.raises(TypeError, match=re.escape(error.partition(": ")[2])):
        exec(source(function), {**globals(), "expose": expose})
    assert functions == {}


def test_workers_do_what_the_table_says(start):
    script = "from dataclasses import dataclass\nfrom typing import Any, Optional\n"
    script += "@dataclass\nclass Point:\n    x: int\n    y: float = 0.0\n"
    named = [(f"f{number}", row) for number, row in enumerate(CALLS)]
    script += "".join(source(row[0], name) for name, row in named)
    client = start(script).connect()
    plain = {"Point": lambda **fields: fields}
    for number, (name, row) in enumerate(named, 2):
        body, gets = json.loads(row[1]), (*row, "")[2]
        answer = client.call(name, body, id=number)
        if gets.startswith("InvalidRequest: "):
            assert answer["error"] == gets.partition(": ")[2], row
        else:
            wanted = eval(f"dict({gets})", {**globals(), **plain})
            assert answer["body"] == json.loads(json.dumps(wanted)), row


def test_the_body_may_only_be_whole_or_fields(functions):
    with pytest.raises(TypeError, match='"whole" or "fields"'):
        expose(body="all")(lambda n: n)
