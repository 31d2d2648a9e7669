//! Variables that nothing reads are warned of. In a process of its own, as that is said once in the life of one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/events.rs"]
mod events;
mod support;

use std::{env, process::Command};

use events::{POOL, Told, listen};
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
    let mut told: Vec<_> = events.of(POOL).iter().map(unknown).collect();
    told.sort();
    assert_eq!(
        told,
        [
            ("PYPROC_QUITE_ANOTHER_THING".into(), None),
            ("PYPROC_WORKRES".into(), Some("PYPROC_WORKERS".to_owned())),
        ]
    );
}

fn unknown(told: &Told) -> (String, Option<String>) {
    assert_eq!(told.message(), "unknown environment variable");
    assert_eq!(told.level, Level::WARN);
    let fields = &told.fields;
    (fields["variable"].clone(), fields.get("nearest").cloned())
}
