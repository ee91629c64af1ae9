//! The terminal: taken, drawn on, read from, and given back on every way out.

use std::{
    convert::Infallible,
    io::{self, Stdout, stdout},
    panic,
    sync::Once,
    thread,
    time::Duration,
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    buffer::Buffer,
    crossterm::{
        cursor::{Hide, Show},
        event::{self, Event},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
    layout::Rect,
};
use tokio::sync::mpsc;

/// The terminal, taken; dropped, it is as it was.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

/// What is typed, and changes of the screen's size; read on a thread of its own, since it blocks.
pub(super) struct Keyboard {
    events: mpsc::Receiver<io::Result<Event>>,
    /// Disconnected when the reader has ended.
    reading: std::sync::mpsc::Receiver<Infallible>,
}

/// How long the keyboard's reader takes to notice that nobody listens any more.
const NOTICE: Duration = Duration::from_millis(50);

// === impl Screen ===

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        give_back_on_panic();
        let terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        let screen = Self { terminal };
        // From here on, whatever fails gives back what was taken.
        take()?;
        Ok(screen)
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(Rect, &mut Buffer)) -> io::Result<()> {
        self.terminal
            .draw(|frame| draw(frame.area(), frame.buffer_mut()))?;
        Ok(())
    }

    /// Takes it once more, after somebody else had it.
    pub(super) fn take_again(&mut self) -> io::Result<()> {
        take()?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, Hide)
}

/// As far as that goes: if the terminal is gone, there is nothing to give back.
fn give_back() {
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
}

/// What a panic says belongs on the terminal as it was.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}

// === impl Keyboard ===

impl Keyboard {
    pub(super) fn open() -> Self {
        let (sender, events) = mpsc::channel(16);
        let (until_the_end, reading) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let _until_the_end = until_the_end;
            while !sender.is_closed() {
                let event = match event::poll(NOTICE) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                let failed = event.is_err();
                if sender.blocking_send(event).is_err() || failed {
                    return;
                }
            }
        });
        Self { events, reading }
    }

    /// Waits for the next one. Cancel safe.
    pub(super) async fn next(&mut self) -> io::Result<Event> {
        let gone = || io::Error::other("the keyboard is no longer read");
        self.events.recv().await.ok_or_else(gone)?
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.events.close();
        // If the terminal was closed, crossterm reads its end for ever, without a pause: then the reader goes with the
        // process, and is not to hold that up.
        let _ = self.reading.recv_timeout(4 * NOTICE);
    }
}
