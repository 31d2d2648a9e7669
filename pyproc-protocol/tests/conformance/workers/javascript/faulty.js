// The worker with a fault on purpose, which its first argument names: so that the tool is seen to find it.
"use strict";

const fs = require("node:fs");

const { BinaryCall, JsonCall } = require("./calls.js");
const { Connection } = require("./connection.js");
const { FrameReader, KIND, binaryFrame, jsonFrame } = require("./frames.js");
const { Metrics, Worker, functions } = require("./worker.js");

/** Replaces a method by one that gets the old one first. */
function change(type, name, method) {
  const original = type.prototype[name];
  type.prototype[name] = function (...args) {
    return method.call(this, original.bind(this), ...args);
  };
}

/** Lets a record be changed before it leaves. */
function changeRecords(edit) {
  change(Connection, "report", (report, feature, record) => report(feature, edit(record)));
}

/** No fault: a worker may serve one connection after the other (1-P3). The later ones wait. */
function serveOneByOne() {
  change(Connection, "receive", function (receive, chunk) {
    const [first] = this.worker.connections;
    if (this === first) receive(chunk);
    else (this.held ??= []).push(chunk);
  });
  change(Connection, "stopReading", function (stopReading) {
    if (this.held?.length > 0) this.ends = true;
    else stopReading();
  });
  change(Connection, "closed", function (closed) {
    closed();
    const [next] = this.worker.connections;
    for (const chunk of next?.held?.splice(0) ?? []) next.receive(chunk);
    if (next?.ends) next.stopReading();
  });
}

const faults = {
  "serves one connection after the other": serveOneByOne,
  "answers twice": () => change(Connection, "answer", function (answer, call, bytes) {
    this.send(bytes);
    answer(call, bytes);
  }),
  "answers with another id": () => change(JsonCall, "success", function (success, result) {
    if (typeof result === "number") this.id += 1;
    const bytes = success(result);
    if (typeof result === "number") this.id -= 1;
    return bytes;
  }),
  "stays connected": () => change(Connection, "endIfDone", function (end) {
    if (this.farewell) this.socket.write(this.farewell);
    else end();
  }),
  "takes lone surrogates": () => change(Connection, "request", (request, source, message) => {
    const method = message.method.replace(/\p{Surrogate}/gu, "?");
    request(source, { ...message, method });
  }),
  "knows no hello": () => change(Connection, "hello", function (hello, call) {
    this.start(call);
  }),
  "ends with status 3": () => change(Worker, "end", (end) => {
    process.exitCode = 3;
    end();
  }),
  "takes the place of a live worker": () => change(Worker, "occupied", function (occupied, path) {
    fs.unlinkSync(path);
    this.server.listen(path);
  }),
  "lets everybody in": () => change(Worker, "start", function (start, path, parent) {
    start(path, parent);
    this.server.on("listening", () => fs.chmodSync(path, 0o777));
  }),
  "lacks functions": () => {
    delete functions.sleep;
    delete functions.report;
  },
  "fails always": () => change(Connection, "request", function (_, source, message) {
    this.send(jsonFrame({ id: message?.id ?? 0, ok: false, error: "no" }));
  }),
  "carries white space of bodies": () => change(JsonCall, "success", function (success, result) {
    const written = /"body" : (.*) } \n$/.exec(this.source)?.[1];
    if (!written) return success(result);
    const answer = Buffer.from(`    {"id":${this.id},"ok":true,"body":${written}}`);
    answer.writeUInt32BE(answer.length - 4);
    return answer;
  }),
  "runs what was cancelled": () => change(Connection, "cancel", function (cancel, id) {
    for (const call of this.outstanding.get(id) ?? []) {
      if (call.method === "count") functions.count();
    }
    cancel(id);
  }),
  "drains without a word": () => change(Connection, "drain", function () {
    this.draining = true;
    this.stopReading();
  }),
  "sends times unasked": () => change(BinaryCall, "timesFlag", () => 0x01),
  "answers pings with 0": () => change(Connection, "binary", function (binary, body) {
    if (body[0] === KIND.ping) this.send(binaryFrame(KIND.pong, 0, 0, 0));
    else binary(body);
  }),
  "skips what it does not know": () => change(FrameReader, "next", function (next, acceptsVersion2) {
    let body = next(acceptsVersion2);
    while (body && body[0] > 0x0a && body[0] < 0x10) body = next(acceptsVersion2);
    return body;
  }),
  "reports unasked": () => change(Connection, "report", function (report, feature, record) {
    this.features = ["logs", "spans", "metrics"];
    report(feature, record);
  }),
  "logs after the answer": () => change(Connection, "report", (report, feature, record) => {
    if (feature === "logs") setImmediate(() => report(feature, record));
    else report(feature, record);
  }),
  "writes null": () => changeRecords((record) => ({ ...record, stream: null })),
  "writes times in seconds": () => changeRecords((record) => ({ ...record, time: record.time / 1e9 })),
  "has levels of its own": () => changeRecords((record) => ({ ...record, level: 40 })),
  "makes roots of spans": () => changeRecords((record) => ({ ...record, parent_span_id: "" })),
  "drops without counting": () => change(Connection, "report", function (report, feature, record) {
    report(feature, record);
    this.lost = { logs: 0, spans: 0 };
  }),
  "reports differences": () => change(Metrics, "reportNow", function (reportNow) {
    reportNow();
    this.reports = 0;
  }),
};

faults[process.argv[2]]();
new Worker().start(process.env.PYPROC_SOCKET_PATH, process.env.PYPROC_PARENT_PID);
