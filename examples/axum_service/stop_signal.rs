use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// SIGTERM or SIGINT (Ctrl-C), for any number of tasks that wait for it.
pub(crate) struct StopSignal {
    came: watch::Receiver<bool>,
}

impl StopSignal {
    /// From now on the signals no longer end the process.
    pub(crate) fn install() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (sender, came) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            sender.send_replace(true);
        });
        Ok(Self { came })
    }

    pub(crate) fn received(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut came = self.came.clone();
        async move {
            // An error means that signals no longer arrive: stop then, too.
            let _ = came.wait_for(|came| *came).await;
        }
    }
}
