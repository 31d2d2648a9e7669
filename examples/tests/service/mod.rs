//! The web service as a process, and a client that talks to it over plain sockets.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Long enough for the slowest machine; a test that waits this long fails.
const LONG: Duration = Duration::from_secs(50);

/// Killed on drop.
pub(crate) struct Service {
    process: Child,
    address: String,
    /// What a killed service leaves in here goes with it.
    _sockets: TempDir,
}

/// A request that has no answer yet.
pub(crate) struct Sent(TcpStream);

pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Service {
    /// Starts it on a free port, and returns when it listens.
    pub(crate) fn start(args: &[&str]) -> Self {
        // The system's temporary directory may have too long a path for sockets.
        let sockets = tempfile::tempdir_in("/tmp").unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_axum_service"))
            .arg("127.0.0.1:0")
            .args(args)
            .env("XDG_RUNTIME_DIR", sockets.path())
            .env("PYPROC_LOG_LEVEL", "WARNING")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        // It goes on printing, which must not fail.
        thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let Some(address) = line.strip_prefix("listening on http://") else {
            let _ = process.kill();
            panic!(
                "the service does not listen: {line:?}, {:?}",
                process.wait()
            );
        };
        Self {
            address: address.trim().into(),
            process,
            _sockets: sockets,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request(&format!("GET {path} HTTP/1.1"), "").answer()
    }

    pub(crate) fn predict(&self, body: &str) -> Answer {
        self.send(body).answer()
    }

    pub(crate) fn send(&self, body: &str) -> Sent {
        self.request("POST /predict HTTP/1.1", body)
    }

    /// A number of what `/readyz` answers.
    pub(crate) fn readiness(&self, key: &str) -> u64 {
        self.get("/readyz").json()[key].as_u64().unwrap()
    }

    /// The ids of its worker processes.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let service = self.process.id().to_string();
        let table = ps(&["-A", "-o", "pid=,ppid="]);
        let row = |line: &str| {
            let (pid, parent) = line.trim().split_once(char::is_whitespace)?;
            (parent.trim() == service).then(|| pid.parse().unwrap())
        };
        table.lines().filter_map(row).collect()
    }

    pub(crate) fn signal(&self, name: &str) {
        send_signal(name, self.process.id());
    }

    /// Waits for its end; `None` when a signal ended it.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        until("the service has ended", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status?.code()
    }

    fn request(&self, line: &str, body: &str) -> Sent {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let length = body.len();
        let request = format!(
            "{line}\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        Sent(stream)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Sent {
    pub(crate) fn answer(mut self) -> Answer {
        let mut text = String::new();
        self.0.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap();
        Answer {
            status: status.parse().unwrap(),
            head: head.into(),
            body: body.into(),
        }
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find_map(|(it, value)| it.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// Waits until `condition` holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < LONG, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn send_signal(name: &str, pid: u32) {
    let mut kill = Command::new("kill");
    let status = kill.args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "cannot send {name} to {pid}");
}

/// Whether the process runs; one that is dead but not yet collected does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let state = ps(&["-o", "stat=", "-p", &pid.to_string()]);
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

fn ps(args: &[&str]) -> String {
    let output = Command::new("ps").args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
