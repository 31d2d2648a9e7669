//! `Debug` shows no values that may be secret.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::{Arc, Mutex};

use pyproc_pool::observe::{CallObserver, CallStart, Observer, RequestMetadata};
use support::{Scratch, held, odd, until};

const SECRET: &str = "hunter2";

fn shows(text: &str, names: &[&str]) {
    assert!(!text.contains(SECRET), "{text}");
    for name in names {
        assert!(text.contains(name), "{name}: {text}");
    }
}

#[tokio::test]
async fn a_pool_shows_names_of_variables_and_the_number_of_arguments_only() {
    let scratch = Scratch::new();
    let builder = odd(1).args(["serve", SECRET]).env("API_KEY", SECRET);
    shows(&format!("{builder:?}"), &["API_KEY", "args: 2"]);
    let pool = builder.start().await.unwrap();
    shows(&format!("{pool:#?}"), &["API_KEY", "args: 2"]);

    let file = scratch.path().join(SECRET);
    let call = held(&pool, &file);
    until("the worker has the call", || pool.stats().in_flight == 1).await;
    shows(&format!("{pool:?}"), &["API_KEY"]);
    shows(&format!("{:?}", pool.downgrade()), &[]);
    std::fs::write(file, "").unwrap();
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_shows_neither_its_input_nor_values_of_headers() {
    let pool = odd(1).start().await.unwrap();
    let call = pool.request("echo", SECRET).header("authorization", SECRET);
    shows(&format!("{call:?}"), &["echo", "authorization"]);
    let call = pool.request_bytes("echo", SECRET);
    shows(&format!("{call:?}"), &["echo"]);
}

/// Keeps what `Debug` shows of what it is given.
#[derive(Debug, Default)]
struct Shown(Mutex<String>);

impl Observer for Shown {
    fn begin(
        &self,
        call: &CallStart<'_>,
        metadata: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        *self.0.lock().unwrap() = format!("{call:?} {metadata:?}");
        None
    }
}

#[tokio::test]
async fn an_observer_shows_no_values_of_headers() {
    let shown = Arc::new(Shown::default());
    let pool = odd(1).observer(Arc::clone(&shown) as _).start().await;
    let call = pool.as_ref().unwrap().request("echo", SECRET);
    let _: String = call.header("authorization", SECRET).call().await.unwrap();
    shows(&shown.0.lock().unwrap(), &["echo", "authorization"]);
}
