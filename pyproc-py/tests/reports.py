"""A client that takes telemetry, for the tests of what workers report."""

import json

from wire import RESPONSE, TELEMETRY, request2

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = bytes.fromhex(TRACE_ID + SPAN_ID + "01")
UNSAMPLED = bytes.fromhex(TRACE_ID + SPAN_ID + "00")


class Taker:
    """A connection of version 2 that asked for `features`; it keeps the records that come."""

    def __init__(self, worker, *features):
        self.client = worker.connect(version=2, features=("error-details", "cancel", *features))
        self.records = []

    def call(self, method, body=None, **more):
        """The answer; what the worker reported before it is in `records`."""
        self.ask(method, body, **more)
        return self.answer()

    def ask(self, method, body=None, **more):
        payload = json.dumps(body).encode()
        self.client.send(request2(1, self.client.table[method], payload, **more))

    def answer(self):
        while True:
            message = self._take()
            if message is not None:
                return message

    def result(self, method, body=None, **more):
        message = self.call(method, body, **more)
        assert message["kind"] == RESPONSE, message
        return json.loads(message["payload"])

    def of_type(self, kind):
        """Those that have come."""
        return [record for record in self.records if record["type"] == kind]

    def wait_for(self, found):
        """Reads until `found(record)` for one that comes or has come; gives that record."""
        while True:
            for record in self.records:
                if found(record):
                    return record
            self._take()  # an answer to a call that nobody waits for may be among it

    def wait_for_metric(self, name, fits=lambda series: True):
        """Reads until a series of this metric fits."""
        return self.wait_for(
            lambda record: any(
                fits(series)
                for metric in record.get("metrics", ())
                if metric["name"] == name
                for series in metric["series"]
            )
        )

    def metrics(self):
        """The latest of each metric by its name: the definition, and the series by their labels."""
        metrics = {}
        for record in self.of_type("metrics"):
            for metric in record["metrics"]:
                definition = {name: value for name, value in metric.items() if name != "series"}
                known = metrics.setdefault(metric["name"], (definition, {}))
                for series in metric["series"]:
                    value = {name: value for name, value in series.items() if name != "labels"}
                    known[1][tuple(series["labels"].items())] = value
        return metrics

    def read_to_end(self):
        """Reads all that comes until the worker closes the connection."""
        try:
            while True:
                self._take()
        except (EOFError, ConnectionResetError):
            return self

    def _take(self):
        message = self.client.receive2()
        if message["kind"] != TELEMETRY:
            return message
        assert message["payload"].endswith(b"\n")
        self.records += [_strict(line) for line in message["payload"].splitlines()]
        return None


def _strict(line):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    def without_duplicates(pairs):
        assert len({name for name, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    return json.loads(line, parse_constant=refuse, object_pairs_hook=without_duplicates)
