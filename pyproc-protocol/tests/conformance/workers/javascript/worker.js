// A worker in JavaScript, written from the specification alone: SPEC.md and SPEC-V2.md. It needs Node.js 18 and nothing else, and
// reaches all three levels. It is an example for authors in other languages, and the proof that the text is enough.
//
// Integers beyond 2^53 are rounded, as JavaScript's numbers are doubles (1-V2).
"use strict";

const fs = require("node:fs");
const net = require("node:net");

const { Failure, now } = require("./calls.js");
const { Connection } = require("./connection.js");

// The functions of the contract in CONFORMANCE.md

let calls = 0;

const functions = {
  echo: (body) => body,
  fail: (text) => {
    throw new Error(text);
  },
  sleep: (milliseconds, call) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => resolve(null), milliseconds);
      call.onCancel = () => {
        clearTimeout(timer);
        reject(new Failure("pyproc_worker.Cancelled", "the client cancelled the request"));
      };
    }),
  count: () => ++calls,
  text: (length) => "x".repeat(length),
  bytes: (length) => Buffer.alloc(length),
  report: (text, call) => {
    const start = now();
    call.connection.worker.metrics.count();
    call.warn(text);
    call.span(text, start);
    return null;
  },
  health: () => ({ status: "healthy", pid: process.pid }),
};

/** Reports the totals a tenth of a second after they changed, and before the worker ends. */
class Metrics {
  constructor(worker) {
    this.worker = worker;
    this.start = now();
    this.reports = 0;
    this.timer = null;
  }

  count() {
    this.reports += 1;
    this.changed();
  }

  changed() {
    this.timer ??= setTimeout(() => this.reportNow(), 100).unref();
  }

  reportNow() {
    clearTimeout(this.timer);
    this.timer = null;
    const series = [{ labels: {}, value: this.reports }];
    const metrics = [{ name: "conformance_reports_total", help: "Calls of report.", kind: "counter", series }];
    for (const connection of this.worker.connections) connection.report("metrics", { type: "metrics", start: this.start, metrics });
  }
}

class Worker {
  constructor() {
    this.functions = functions;
    this.concurrent = new Set(["sleep"]);
    this.connections = new Set();
    this.metrics = new Metrics(this);
    this.server = net.createServer({ allowHalfOpen: true }, (socket) => this.connections.add(new Connection(this, socket)));
  }

  start(path, parent) {
    this.server.on("listening", () => fs.chmodSync(path, 0o600));
    this.server.on("error", (error) => this.occupied(path, error));
    this.server.listen(path);
    process.on("SIGTERM", () => this.end());
    if (parent) this.endsWith(Number(parent));
  }

  /** Its own parent is the pool's process, or a wrapper that ends with it. */
  endsWith(pool) {
    const parent = process.ppid;
    const isGone = () => process.ppid !== parent || !lives(pool);
    setInterval(() => isGone() && process.exit(), 1000).unref();
  }

  /** A dead socket is replaced; a live one, and any other file, is left alone. */
  occupied(path, error) {
    const refuse = (reason) => {
      console.error(`cannot listen at ${path}: ${reason}`);
      process.exit(1);
    };
    if (error.code !== "EADDRINUSE" || !fs.lstatSync(path).isSocket()) return refuse(error.message);
    const probe = net.connect(path, () => refuse("another worker listens there"));
    probe.on("error", () => {
      fs.unlinkSync(path);
      this.server.listen(path);
    });
  }

  closed(connection) {
    this.connections.delete(connection);
    if (connection.owner) this.end();
  }

  end() {
    this.server.close();
    this.metrics.reportNow();
    for (const connection of this.connections) connection.drain();
  }
}

function lives(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
}

if (require.main === module) new Worker().start(process.env.PYPROC_SOCKET_PATH, process.env.PYPROC_PARENT_PID);

module.exports = { Metrics, Worker, functions };
