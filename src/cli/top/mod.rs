//! `tapfan top`: shows the sinks of a running router live, until the user quits.
//!
//! `watched` keeps the polled statuses, and `rates` computes rates from them. `model` adds the choices of the user, and
//! `input` changes these choices. `view` draws the model into a buffer. Only `screen` uses the terminal.

mod events;
mod input;
mod model;
mod rates;
mod screen;
mod series;
mod view;
mod watched;

use std::{
    env, io,
    io::IsTerminal as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use ratatui::crossterm::event::Event;
use tokio::{
    select,
    signal::unix::SignalKind,
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::task::AbortOnDropHandle;

use self::{
    input::{Flow, on},
    model::Model,
    screen::{Keyboard, Screen},
    view::{Theme, draw},
};
use super::{
    BAD_CONFIGURATION, FAILED, fail,
    remote::{self, Answer, FetchError, RouterArgs, Whereabouts, fetch},
    signals::Signals,
};
use crate::{admin::RouterStatus, config::quantity};

/// Arguments of `tapfan top`.
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    router: RouterArgs,
    /// The poll interval, from 100ms to 1m
    #[arg(long, value_name = "D", default_value = "1s", value_parser = pace)]
    interval: Duration,
}

/// The action that a signal requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Leave,
    /// The process was suspended and continues now. Another process may have drawn on the terminal in that time.
    Redraw,
}

/// Shows a router until a key or a signal ends the program.
pub(super) fn run(args: &TopArgs) -> ExitCode {
    if let Err(reason) = terminal_is_there() {
        let why =
            format_args!("{reason}; `tapfan status` prints the sinks once and needs no terminal");
        return fail(BAD_CONFIGURATION, why);
    }
    remote::run(&args.router, async |whereabouts| {
        match watch(&whereabouts, args.interval).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(FAILED, format_args!("the terminal failed: {error}")),
        }
    })
}

/// Checks that there is a terminal to draw on and to read keys from.
fn terminal_is_there() -> Result<(), &'static str> {
    if !io::stdout().is_terminal() {
        Err("top needs a terminal, and standard output is not one")
    } else if !io::stdin().is_terminal() {
        Err("top needs a terminal, and standard input is not one")
    } else if env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        Err("top needs a terminal that it can draw on; TERM is unset or dumb")
    } else {
        Ok(())
    }
}

fn pace(text: &str) -> Result<Duration, String> {
    quantity::time(text, &(Duration::from_millis(100)..=Duration::from_mins(1)))
        .map_err(|error| format!("{error}: write it as in 500ms or 2s"))
}

async fn watch(whereabouts: &Whereabouts, pace: Duration) -> io::Result<()> {
    /// The number of SIGCONT, for which tokio has no constant. The number is the same on every architecture for which
    /// tapfan is built.
    const SIGCONT: i32 = 18;
    let mut signals = Signals::new([
        (SignalKind::terminate(), Asked::Leave),
        (SignalKind::interrupt(), Asked::Leave),
        (SignalKind::hangup(), Asked::Leave),
        (SignalKind::from_raw(SIGCONT), Asked::Redraw),
    ])?;
    let theme = Theme::of_environment();
    let mut model = Model::new(whereabouts.to_string(), pace);
    let (sender, mut polls) = mpsc::channel(1);
    let polling = poll(whereabouts.clone(), pace, sender);
    let _polling = AbortOnDropHandle::new(tokio::spawn(polling));
    let mut screen = Screen::open()?;
    // The keyboard is declared after the screen, so that it is dropped before the screen. After the terminal is
    // restored, the keyboard must not be read any more.
    let mut keyboard = Keyboard::open();
    // The screen is redrawn each second, so that elapsed times are right even if no poll succeeds.
    let mut seconds = interval(Duration::from_secs(1));
    loop {
        screen.draw(|area, buffer| draw(&model, Instant::now(), theme, area, buffer))?;
        select! {
            event = keyboard.next() => {
                let event: Event = event?;
                if on(&mut model, &event) == Flow::Leave {
                    return Ok(());
                }
            }
            polled = polls.recv() => match polled {
                Some(Ok(Seen { status, mismatch })) => {
                    model.mismatch = mismatch;
                    model.watched.seen(status, Instant::now());
                }
                Some(Err(error)) => model.watched.missed(error.to_string(), Instant::now()),
                None => return Err(io::Error::other("polling stopped")),
            },
            asked = signals.next() => match asked {
                Asked::Leave => return Ok(()),
                Asked::Redraw => screen.take_again()?,
            },
            _ = seconds.tick() => {}
        }
    }
}

/// A status of the router, and a warning if the router runs with a different Tapfile than the one that this command
/// read.
struct Seen {
    status: RouterStatus,
    mismatch: Option<String>,
}

/// Polls the router every `pace` until the receiver is gone. The interval stays the same after a failed poll: a backoff
/// is not needed, because the user chose the interval and this is the only client.
async fn poll(
    whereabouts: Whereabouts,
    pace: Duration,
    to: mpsc::Sender<Result<Seen, FetchError>>,
) {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The path of the Tapfile in the last answer. Comparing paths reads the file system, so paths are compared only
    // when an answer names a different Tapfile than the answer before.
    let mut known: Option<Option<String>> = None;
    let mut mismatch = None;
    loop {
        ticks.tick().await;
        let seen = match fetch(&whereabouts.address).await {
            Ok(Answer { status, .. }) => {
                if known.as_ref() != Some(&status.config.absolute_path) {
                    mismatch = whereabouts.mismatch(&status).await;
                    known = Some(status.config.absolute_path.clone());
                }
                let mismatch = mismatch.clone();
                Ok(Seen { status, mismatch })
            }
            Err(error) => Err(error),
        };
        if to.send(seen).await.is_err() {
            return;
        }
    }
}
