//! Blocking work for async callers.

use std::{sync::Arc, thread, time::Duration};

use futures_channel::oneshot;

/// Runs `work` on a thread of its own, so that no runtime is blocked and none is needed.
pub(crate) async fn on_thread<S: Send + Sync + 'static, T: Send + 'static>(
    shared: &Arc<S>,
    limit: Duration,
    work: fn(&S, Duration) -> T,
) -> T {
    let (sender, receiver) = oneshot::channel();
    let theirs = Arc::clone(shared);
    let spawned = thread::Builder::new()
        .name("pyproc-flush".into())
        .spawn(move || sender.send(work(&theirs, limit)).is_ok());
    drop(spawned);
    match receiver.await {
        Ok(result) => result,
        // The system gave no thread. Blocking is better than losing the waiting data.
        Err(oneshot::Canceled) => work(shared, limit),
    }
}
