//! Ctrl-C: the first asks the work to stop where it can go on, the second leaves at once.

use crate::errors::Exit;
use strongroom_intake::Stop;
use tokio::signal::unix::{SignalKind, signal};

/// A [`Stop`] that SIGINT and SIGTERM press. Call it once, before long work.
pub(crate) fn stop_on_signals() -> Stop {
    let stop = Stop::default();
    let pressed = stop.clone();
    let listen = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return; // then the signals kill at once, which the work survives too
        };
        runtime.block_on(async move {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            let mut before = false;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if before {
                    std::process::exit(Exit::Unable as i32);
                }
                before = true;
                pressed.stop();
                eprintln!("\nStopping. Nothing that was stored is lost: the same command, run again, goes on");
                eprintln!("with what is unfinished, and so does `strongroom work run`. Ctrl-C again leaves at once.");
            }
        });
    };
    if let Err(error) = std::thread::Builder::new().name("signals".into()).spawn(listen) {
        tracing::warn!(%error, "no thread for signals: Ctrl-C ends at once");
    }
    stop
}
