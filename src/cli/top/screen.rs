//! The terminal of `top`. This module takes over the terminal, draws on it, reads keys, and restores it when the
//! program ends, even after a panic.

use std::{
    convert::Infallible,
    io::{self, stdout},
    thread,
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    buffer::Buffer,
    crossterm::{
        event::{self, Event},
        execute,
        terminal::{EnterAlternateScreen, enable_raw_mode},
    },
    layout::Rect,
};
use tokio::sync::mpsc;

/// The terminal in raw mode; dropping it restores the terminal.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

/// Keys and resizes. A separate thread reads them, because reading blocks.
pub(super) struct Keyboard {
    events: mpsc::Receiver<io::Result<Event>>,
    /// This channel is disconnected when the thread that reads keys has ended.
    reading: std::sync::mpsc::Receiver<Infallible>,
}

/// The interval at which the thread that reads keys checks whether its receiver is gone.
const NOTICE: Duration = Duration::from_millis(50);

// === impl Screen ===

impl Screen {
    /// Takes over the terminal. If the program panics, the terminal is restored before the panic message is printed, so
    /// that the message is readable.
    pub(super) fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| restore())?;
        Ok(Self { terminal })
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(Rect, &mut Buffer)) -> io::Result<()> {
        self.terminal
            .draw(|frame| draw(frame.area(), frame.buffer_mut()))?;
        Ok(())
    }

    /// Takes over the terminal again after another process has used it.
    pub(super) fn take_again(&mut self) -> io::Result<()> {
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen)?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal. Ignores errors, because an error means that the terminal is gone.
fn restore() {
    let _ = ratatui::try_restore();
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

    /// Waits for the next event. Cancel safe.
    pub(super) async fn next(&mut self) -> io::Result<Event> {
        let gone = || io::Error::other("reading the keyboard stopped");
        self.events.recv().await.ok_or_else(gone)?
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.events.close();
        // The wait for the thread that reads keys has a limit. If the terminal was closed, the thread does not end
        // before the process: crossterm reads the end of file in an endless loop.
        let _ = self.reading.recv_timeout(4 * NOTICE);
    }
}
