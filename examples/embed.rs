//! A program that runs the router itself, prints the router's state for a second, and drains the router.
//!
//! ```sh
//! cargo run --no-default-features --example embed
//! ```

use std::{error::Error, path::Path, time::Duration};

use tapfan::{config, supervisor::Supervisor};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const TAPFILE: &str = "
    listen tcp://127.0.0.1:0
    drain 2s
    dnstap tcp://127.0.0.1:6000 full {
        name siem
    }
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let loaded = config::parse(Path::new("Tapfile"), TAPFILE, &config::process_environment);
    let Some(config) = loaded.config else {
        return Err(loaded.diagnostics.into());
    };

    let router = Supervisor::start(&config)?;
    // A clone of the view can be given to any thread, for example to a thread that serves metrics.
    let view = router.view().clone();
    for _ in 0..5 {
        for sink in view.snapshot().sinks {
            let ledger = &sink.ledger;
            println!(
                "{}: {}, {} frames delivered, {} queued",
                sink.name, sink.health.state, ledger.delivered, ledger.queued
            );
        }
        sleep(Duration::from_millis(200)).await;
    }

    // Waits until the queues are empty, but at most for the time in the `drain` line of the Tapfile. To end the wait
    // earlier, a program can cancel the token.
    let report = router.drain(CancellationToken::new()).await;
    for sink in report.sinks {
        println!("{}: {} frames lost", sink.name, sink.ledger.dropped_total());
    }
    Ok(())
}
