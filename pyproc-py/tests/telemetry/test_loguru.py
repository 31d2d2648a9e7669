"""Loguru's lines have the call that they belong to, also if it got its stream before there was a client."""

import json

import pytest
from reports import SAMPLED, SPAN_ID, TRACE_ID, Taker

LOGURU = """
    from loguru import logger
    {set_up}

    @expose
    def say(req):
        logger.bind(sku="a-1").warning("low")
        try:
            1 / 0
        except ZeroDivisionError as error:
            error.__notes__ = ["a note", "of two\\nlines"]
            logger.exception("it failed")

    @expose
    def add(req):
        logger.add(sys.stdout, format="{{message}}")
"""

SERIALIZED = "logger.remove(); logger.add(sys.stderr, serialize=True)"


@pytest.mark.parametrize("set_up", ["", SERIALIZED])
def test_each_record_is_one_line_of_its_call(start, set_up):
    taker = Taker(start(LOGURU.format(set_up=set_up)), "logs")
    taker.result("say", trace=SAMPLED)
    low, failed = taker.of_type("log")
    for record in (low, failed):
        assert (record["trace_id"], record["span_id"]) == (TRACE_ID, SPAN_ID)
        assert (record["function"], record["stream"]) == ("say", "stderr")
    if set_up:
        assert json.loads(failed["message"])["record"]["level"]["name"] == "ERROR"
    else:
        assert low["message"].endswith(" - low")
        assert "\nTraceback (most recent call last):\n" in failed["message"]
        assert "ZeroDivisionError: division by zero" in failed["message"]


def test_sinks_that_are_added_later_are_forwarded_too_and_after_the_client_they_go_to_the_output(
    start,
):
    worker = start(LOGURU.format(set_up=""))
    plain, taker = Taker(worker), Taker(worker, "logs")
    taker.result("add")
    taker.result("say")
    assert [record["stream"] for record in taker.of_type("log")] == ["stderr", "stdout"] * 2
    taker.client.close()
    plain.result("say")
    worker.wait_for_log(" - low")
