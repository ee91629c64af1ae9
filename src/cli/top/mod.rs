//! `tapfan top`: the sinks of a running router, live, until somebody leaves.
//!
//! `watched` is what was seen of the router and `rates` what follows from it; `model` adds what the person has chosen,
//! `input` changes that, and `view` draws it: a function of the model onto a buffer. Only `screen` knows the terminal.

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
    runtime, select,
    signal::unix::{Signal, SignalKind, signal},
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
    BAD_CONFIGURATION, FAILED,
    router::{FetchError, Look, RouterArgs, Whereabouts, fetch},
    tell,
};
use crate::{admin::RouterStatus, config::quantity};

/// What `top` is told.
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    router: RouterArgs,
    /// How often to look, from 100ms to 1m
    #[arg(long, value_name = "D", default_value = "1s", value_parser = pace)]
    interval: Duration,
}

/// What ends it from outside, and what wakes it.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    proceed: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Leave,
    /// It was stopped, and somebody else had the terminal.
    Redraw,
}

/// Watches a router until a key or a signal ends it.
pub(super) fn run(args: &TopArgs) -> ExitCode {
    if let Err(reason) = terminal_is_there() {
        tell(format_args!(
            "tapfan: {reason}; `tapfan status` prints the same once, anywhere\n"
        ));
        return ExitCode::from(BAD_CONFIGURATION);
    }
    let whereabouts = match args.router.whereabouts() {
        Ok(whereabouts) => whereabouts,
        Err(error) => {
            tell(format_args!("tapfan: {error}\n"));
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(format_args!(
                "tapfan: the runtime cannot be started: {error}\n"
            ));
            return ExitCode::from(FAILED);
        }
    };
    let result = runtime.block_on(watch(&whereabouts, args.interval));
    // A look-up of a name that hangs does not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format_args!("tapfan: the terminal failed: {error}\n"));
            ExitCode::from(FAILED)
        }
    }
}

/// Whether something can be drawn and keys can be read; the reason if not.
fn terminal_is_there() -> Result<(), &'static str> {
    if !io::stdout().is_terminal() {
        Err("top needs a terminal, and standard output is none")
    } else if !io::stdin().is_terminal() {
        Err("top needs a terminal, and standard input is none")
    } else if env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        Err("top needs a terminal that can be drawn on, and TERM names none")
    } else {
        Ok(())
    }
}

fn pace(text: &str) -> Result<Duration, String> {
    quantity::time(text, &(Duration::from_millis(100)..=Duration::from_mins(1)))
        .map_err(|error| format!("{error}: write it as in 500ms or 2s"))
}

async fn watch(whereabouts: &Whereabouts, pace: Duration) -> io::Result<()> {
    let mut signals = Signals::new()?;
    let theme = Theme::of_environment();
    let mut model = Model::new(whereabouts.to_string(), pace);
    let (sender, mut looks) = mpsc::channel(1);
    let looking = look(whereabouts.clone(), pace, sender);
    let _looking = AbortOnDropHandle::new(tokio::spawn(looking));
    let mut screen = Screen::open()?;
    // After the screen, so that nobody reads keys any more when the terminal is given back.
    let mut keyboard = Keyboard::open();
    // What is said of times that have passed here changes without any news.
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
            look = looks.recv() => match look {
                Some(Ok(Seen { status, stranger })) => {
                    model.stranger = stranger;
                    model.watched.seen(status, Instant::now());
                }
                Some(Err(error)) => model.watched.missed(error.to_string(), Instant::now()),
                None => return Err(io::Error::other("the router is no longer looked at")),
            },
            asked = signals.next() => match asked {
                Asked::Leave => return Ok(()),
                Asked::Redraw => screen.take_again()?,
            },
            _ = seconds.tick() => {}
        }
    }
}

/// A look at the router, and a warning if it is not the one that was meant.
struct Seen {
    status: RouterStatus,
    stranger: Option<String>,
}

/// Looks at the router at this pace, for as long as somebody wants to know.
async fn look(
    whereabouts: Whereabouts,
    pace: Duration,
    to: mpsc::Sender<Result<Seen, FetchError>>,
) {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The Tapfile of the last look. Paths are looked up to compare it: not with each look, and not where keys are read.
    let mut known: Option<Option<String>> = None;
    let mut stranger = None;
    loop {
        ticks.tick().await;
        let seen = match fetch(&whereabouts.address).await {
            Ok(Look { status, .. }) => {
                if known.as_ref() != Some(&status.config.absolute_path) {
                    stranger = whereabouts.stranger(&status).await;
                    known = Some(status.config.absolute_path.clone());
                }
                let stranger = stranger.clone();
                Ok(Seen { status, stranger })
            }
            Err(error) => Err(error),
        };
        if to.send(seen).await.is_err() {
            return;
        }
    }
}

// === impl Signals ===

impl Signals {
    fn new() -> io::Result<Self> {
        /// As on every architecture that tapfan is built for; tokio has no name for it.
        const SIGCONT: i32 = 18;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            proceed: signal(SignalKind::from_raw(SIGCONT))?,
        })
    }

    async fn next(&mut self) -> Asked {
        select! {
            _ = self.terminate.recv() => Asked::Leave,
            _ = self.interrupt.recv() => Asked::Leave,
            _ = self.hang_up.recv() => Asked::Leave,
            _ = self.proceed.recv() => Asked::Redraw,
        }
    }
}
