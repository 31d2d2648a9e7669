//! The pool warns of variables that nothing reads. In a process of its own, because a process warns once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/events.rs"]
mod events;
mod support;

use std::{env, process::Command};

use events::{LoggedEvent, POOL, listen};
use support::odd;
use tracing::Level;

const CHILD: &str = "PYPROC_TEST_CORES";

#[test]
fn a_variable_that_nothing_reads_is_warned_of_once_with_the_nearest_that_something_does() {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_child_of_the_other_test"])
        .env("PYPROC_WORKRES", "4")
        .env("PYPROC_QUITE_ANOTHER_THING", "1")
        .env("PYPROC_FORWARD_LOGS", "0")
        .env("PYPROC_TELEMETRY_ENABLED", "false")
        .env(CHILD, "child")
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
}

#[tokio::test]
async fn the_child_of_the_other_test() {
    if env::var(CHILD).as_deref() != Ok("child") {
        return;
    }
    let (events, _guard) = listen(Level::WARN);
    for _ in 0..2 {
        odd(1).start().await.unwrap();
    }
    let mut logged: Vec<_> = events.of(POOL).iter().map(unknown).collect();
    logged.sort();
    assert_eq!(
        logged,
        [
            ("PYPROC_QUITE_ANOTHER_THING".into(), None),
            ("PYPROC_WORKRES".into(), Some("PYPROC_WORKERS".to_owned())),
        ]
    );
}

fn unknown(logged: &LoggedEvent) -> (String, Option<String>) {
    assert_eq!(logged.message(), "unknown environment variable");
    assert_eq!(logged.level, Level::WARN);
    let fields = &logged.fields;
    (fields["variable"].clone(), fields.get("nearest").cloned())
}
