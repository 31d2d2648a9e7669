//! Prometheus, as a process of the test's own.
#![allow(clippy::print_stderr, reason = "says what is not tested")]

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

const LONG: Duration = Duration::from_secs(60);

/// Where `prometheus` and `promtool` are.
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// `None`, and a line that says so, if they are nowhere and nobody said that they must be.
    pub(crate) fn find() -> Option<Self> {
        if let Some(named) = env::var_os("PYPROC_PROMETHEUS") {
            let named = PathBuf::from(named);
            assert!(has_both(&named), "no prometheus and promtool in {named:?}");
            return Some(Self(named));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path).find(|it| has_both(it));
        if found.is_none() {
            eprintln!("not run: neither PYPROC_PROMETHEUS nor PATH leads to prometheus");
        }
        found.map(Self)
    }

    /// What `promtool check metrics` says.
    pub(crate) fn check_metrics(&self, text: &str) -> String {
        let mut promtool = Command::new(self.0.join("promtool"))
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = promtool.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        let output = promtool.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8(said).unwrap()
    }

    /// Fails unless `promtool check config` accepts it, and the rules that it names.
    pub(crate) fn check_config(&self, path: &str) {
        self.run_promtool(["check", "config", path]);
    }

    /// Fails unless the rules do what this file of `promtool test rules` says.
    pub(crate) fn test_rules(&self, path: &str) {
        self.run_promtool(["test", "rules", path]);
    }

    fn run_promtool(&self, arguments: [&str; 3]) {
        let mut promtool = Command::new(self.0.join("promtool"));
        let output = promtool.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

fn has_both(dir: &Path) -> bool {
    ["prometheus", "promtool"]
        .iter()
        .all(|it| dir.join(it).is_file())
}

/// One that scrapes an address ten times a second.
pub(crate) struct Prometheus {
    process: Child,
    address: SocketAddr,
    home: PathBuf,
}

impl Prometheus {
    pub(crate) fn start(programs: &Programs, target: SocketAddr) -> Self {
        let home = env::temp_dir().join(format!("pyproc-prometheus-{:x}", fastrand::u64(..)));
        fs::create_dir(&home).unwrap();
        let config = home.join("prometheus.yml");
        let settings = format!(
            "global: {{scrape_interval: 100ms, scrape_timeout: 100ms}}\n\
             scrape_configs:\n- job_name: pyproc\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        fs::write(&config, settings).unwrap();
        // Free a moment ago; it cannot say which one it took itself.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let address = address.unwrap();
        let log = fs::File::create(home.join("log")).unwrap();
        let process = Command::new(programs.0.join("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                home.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            process,
            address,
            home,
        }
    }

    /// The one value of a query.
    pub(crate) async fn value(&self, query: &str) -> f64 {
        let found = self.ask(query).await;
        found.unwrap_or_else(|| panic!("{query} has no single value; {}", self.log()))
    }

    /// Waits until a query has a value for which this holds.
    pub(crate) async fn until(&self, query: &str, holds: impl Fn(f64) -> bool) {
        let begin = Instant::now();
        loop {
            let value = self.ask(query).await;
            if value.is_some_and(&holds) {
                return;
            }
            assert!(
                begin.elapsed() < LONG,
                "{query} is {value:?}; {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The same, if it has one.
    pub(crate) async fn ask(&self, query: &str) -> Option<f64> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC).to_string();
        let address = self.address;
        let answer = tokio::task::spawn_blocking(move || get(address, &query));
        let answer: Value = serde_json::from_str(&answer.await.unwrap()?).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        let result = answer["data"]["result"].as_array().unwrap();
        match result.as_slice() {
            [one] => Some(one["value"][1].as_str().unwrap().parse().unwrap()),
            _ => None,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// The body of an answer; `None` if it does not listen yet, or is not ready.
fn get(address: SocketAddr, query: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET /api/v1/query?query={query} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let ready = !head.contains(" 503 ");
    ready.then(|| body.to_owned())
}
