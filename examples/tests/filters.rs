//! Each filter of log lines that the documentation names, as `PYPROC_LOG_LEVEL` of a service and of its workers.
//! `PYPROC_PYTHON_EXEC`, or `python3`, must have the package `pyproc-worker`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    env, fs,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use pyproc_logging::{Levels, LoggingBuilder};
use pyproc_pool::Pool;
use serde_json::Value;
use tracing::{debug, subscriber::set_default};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt};

const LONG: Duration = Duration::from_secs(60);

const WORKER: &str = "
import logging
from pyproc_worker import expose, run_worker

@expose
def speak(req):
    print('printed')
    logging.getLogger('shop').info('python info')
    logging.getLogger('shop').debug('python debug')

run_worker()
";

/// What a service of which a call is made may log: of the crate `hyper`, of the pool, of its worker.
const SAID: [&str; 5] = [
    "hyper debug",
    "call completed",
    "printed",
    "python info",
    "python debug",
];

/// The pages with filters, and what may stand for the filter of a service.
const PAGES: [&str; 6] = [
    "README.md",
    "pyproc-logging/README.md",
    "pyproc-logging/src/config.rs",
    "pyproc-logging/src/levels/mod.rs",
    "pyproc-pool/LOGS.md",
    "pyproc-py/README.md",
];

const TARGETS: [&str; 3] = ["pyproc::pool", "pyproc::python", "pyproc::output"];

#[tokio::test]
async fn each_filter_of_the_list_shows_what_it_says() {
    let logs = page("pyproc-pool/LOGS.md");
    let (_, list) = logs.split_once("| filter | shows |").unwrap();
    let rows: Vec<_> = list
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|row| row.split('`').nth(1))
        .collect();
    let shown: [(&str, &[&str]); 6] = [
        ("info", &["printed", "python info"]),
        (
            "info,pyproc::pool=debug",
            &["call completed", "printed", "python info"],
        ),
        (
            "info,pyproc::python=debug",
            &["printed", "python info", "python debug"],
        ),
        ("info,pyproc::output=off", &["python info"]),
        ("warn,pyproc::python=info", &["python info"]),
        (
            "debug,hyper=off",
            &["call completed", "printed", "python info", "python debug"],
        ),
    ];
    assert_eq!(rows, shown.map(|(filter, _)| filter));
    for (filter, shown) in shown {
        let shown: BTreeSet<_> = shown.iter().copied().collect();
        assert_eq!(said_with(filter).await, shown, "{filter}");
        filter.parse::<Targets>().unwrap();
    }
}

#[test]
fn each_filter_on_a_page_is_one_and_names_targets_that_exist() {
    for name in PAGES {
        let page = page(name);
        for filter in filters(&page) {
            let levels = filter.parse::<Levels>();
            assert!(levels.is_ok(), "{name}: {filter}: {levels:?}");
            for target in filter.split(',').filter_map(|it| it.split_once('=')) {
                let is_ours = target.0.starts_with("pyproc");
                assert!(!is_ours || TARGETS.contains(&target.0), "{name}: {filter}");
            }
        }
    }
    let found = filters(
        "as `info,a::b=debug`, but `let a=b` not, nor `info`, nor \"PYPROC_LOG_LEVEL=warn,a=off\"",
    );
    assert_eq!(found, ["info,a::b=debug", "warn,a=off"]);
}

/// Texts in quotes that give a target a level.
fn filters(page: &str) -> Vec<&str> {
    let quoted = page
        .split(['`', '"'])
        .map(|text| text.strip_prefix("PYPROC_LOG_LEVEL=").unwrap_or(text));
    let is_level = |level: &str| level.parse::<Levels>().is_ok() && !level.contains('=');
    let is_filter = |text: &&str| {
        let mut parts = text.split(',');
        parts.next().is_some_and(is_level)
            && text.contains('=')
            && parts.all(|part| {
                part.split_once('=')
                    .is_some_and(|(_, level)| is_level(level))
            })
    };
    quoted.filter(is_filter).collect()
}

fn page(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(name)).unwrap()
}

/// What of [`SAID`] is in the log of a service with this filter.
async fn said_with(filter: &str) -> BTreeSet<&'static str> {
    let text = Kept::default();
    let (log, guard) = LoggingBuilder::default()
        .level(filter.parse::<Levels>().unwrap())
        .writer(text.clone())
        .layer()
        .unwrap();
    let _current = set_default(tracing_subscriber::registry().with(log));
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("worker.py"), WORKER).unwrap();
    let pool = Pool::builder()
        .workers(1)
        .python_exec(env::var_os("PYPROC_PYTHON_EXEC").unwrap_or("python3".into()))
        .worker_script(directory.path().join("worker.py"))
        .env("PYPROC_LOG_LEVEL", filter)
        .start_timeout(LONG)
        .start()
        .await
        .unwrap();
    let _: Value = pool.call("speak", &()).await.unwrap();
    debug!(target: "hyper", "hyper debug");
    pool.shutdown(LONG).await;
    assert!(guard.handle().flush(LONG));
    let text = String::from_utf8(text.0.lock().unwrap().clone()).unwrap();
    let messages: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let is_said = |said: &&str| messages.iter().any(|line| line["msg"] == *said);
    SAID.into_iter().filter(is_said).collect()
}

/// Keeps what is written to it.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
