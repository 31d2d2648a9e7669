//! The notifications and events of a reload. In a file of its own: whether an event is of interest is decided once for
//! all threads of a process, and threads without a subscriber must not take part.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "support/events.rs"]
mod events;
mod support;

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use pyproc_pool::{
    Error, WorkerOutput,
    observe::{CallObserver, CallStart, Observer, RequestMetadata, WorkerEvent},
};
use serde_json::{Value, json};
use support::{LONG, Scratch, held, odd, pids, until};
use tracing::Level;

/// Keeps the events of workers.
#[derive(Debug, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Observer for Notes {
    fn begin(
        &self,
        _: &CallStart<'_>,
        _: &mut RequestMetadata<'_>,
    ) -> Option<Box<dyn CallObserver>> {
        None
    }

    fn worker(&self, event: &WorkerEvent<'_>) {
        let note = match event {
            WorkerEvent::Ready { restarted, .. } => format!("ready, restarted: {restarted}"),
            WorkerEvent::Reloaded { worker, pid } => {
                format!("{worker} reloaded, a process: {}", pid.is_some())
            }
            WorkerEvent::Replaced { error, .. } => {
                let death = error.is_some().then(|| event.death().is_some());
                format!("replaced one gone, death: {death:?}")
            }
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(note);
    }
}

#[tokio::test]
async fn observers_are_notified_of_a_reload_and_it_is_logged() {
    let (logged, _guard) = events::listen(Level::INFO);
    let notes = Notes::default();
    let noted = Arc::clone(&notes.0);
    let pool = odd(1).observer(Arc::new(notes)).start().await.unwrap();
    pool.reload(LONG).await.unwrap();
    let endless = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.call::<_, Value>("never", &()).await })
    };
    until("the worker has the call", || pool.stats().in_flight == 1).await;
    pool.reload(Duration::ZERO).await.unwrap();
    endless.await.unwrap().unwrap_err();
    assert_eq!(
        *noted.lock().unwrap(),
        [
            "ready, restarted: false",
            "0 reloaded, a process: true",
            "replaced one gone, death: None",
            "0 reloaded, a process: true",
            "replaced one gone, death: Some(true)",
        ]
    );
    let logged = logged.of("pyproc::pool");
    let messages: Vec<_> = logged.iter().map(|it| it.message()).collect();
    assert_eq!(
        messages,
        [
            "worker ready",
            "worker reloaded",
            "worker drained",
            "worker reloaded",
            "worker died",
            "call completed",
        ]
    );
    assert_eq!(logged[1].fields["restarts"], "1");
    assert_eq!(logged[3].fields["restarts"], "2");
    assert_eq!(logged[3].fields["pid"], pids(&pool)[0].to_string());
    assert!(logged[4].fields["error"].contains("was replaced and did not finish in time"));
}

#[tokio::test]
async fn an_old_worker_whose_calls_a_shutdown_cuts_off_has_not_drained() {
    let files = Scratch::new();
    let (logged, _guard) = events::listen(Level::INFO);
    let pool = odd(1).start().await.unwrap();
    let old = pids(&pool);
    let running = held(&pool, &files.path().join("never"));
    until("the worker has the call", || pool.stats().in_flight == 1).await;
    let reload = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.reload(LONG).await })
    };
    until("another worker has the slot", || pids(&pool) != old).await;
    pool.shutdown(Duration::ZERO).await;
    running.await.unwrap().unwrap_err();
    let _ = reload.await.unwrap();
    let messages = logged.messages("pyproc::pool");
    assert!(messages.contains(&"worker reloaded".into()));
    assert!(!messages.contains(&"worker drained".into()), "{messages:?}");
}

#[tokio::test]
async fn lines_of_an_old_worker_do_not_mix_with_those_of_the_next_one() {
    let files = Scratch::new();
    let gate = files.path().join("gate");
    let (logged, _guard) = events::listen(Level::INFO);
    let pool = odd(1).output(WorkerOutput::Log).start().await.unwrap();
    let old = pids(&pool);
    let running = held(&pool, &gate);
    until("the worker has the call", || pool.stats().in_flight == 1).await;
    let reload = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.reload(LONG).await })
    };
    until("another worker has the slot", || pids(&pool) != old).await;
    let _: Value = pool
        .call("say", &json!({"1": "from the new one\n"}))
        .await
        .unwrap();
    let death = pool.call::<_, Value>("say_and_die", &"last words\n");
    let Error::WorkerDied(death) = death.await.unwrap_err() else {
        panic!("the new one died");
    };
    assert_eq!(death.output, "from the new one\nlast words\n");
    assert_ne!(Some(old[0]), death.pid);
    fs::write(&gate, "").unwrap();
    assert_eq!(running.await.unwrap().unwrap(), "seen");
    reload.await.unwrap().unwrap();
    assert_eq!(
        logged.messages("pyproc::output"),
        ["from the new one", "last words"]
    );
}
