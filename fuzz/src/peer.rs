//! The other end of a connection in a fuzz target, in memory.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Dice;

/// A peer that sends and receives data in parts. After it has sent everything, it behaves as the field `then` says.
#[derive(Debug)]
pub struct Peer<'a> {
    rest: &'a [u8],
    then: Then,
    dice: Dice,
    /// The number of bytes that the peer will still receive.
    room: usize,
    written: Vec<u8>,
}

/// The behaviour of a peer that has sent everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Closes,
    Resets,
    Waits,
}

// === impl Peer ===

impl<'a> Peer<'a> {
    pub fn new(data: &'a [u8], mut dice: Dice) -> Self {
        let then = [Then::Closes, Then::Resets, Then::Waits][dice.below(3)];
        let room = match dice.below(4) {
            0 => dice.below(100),
            _ => usize::MAX,
        };
        Self {
            rest: data,
            then,
            dice,
            room,
            written: Vec::new(),
        }
    }

    /// Returns the data of the peer that was not read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns the bytes that the peer received.
    pub fn written(&self) -> &[u8] {
        &self.written
    }
}

impl AsyncRead for Peer<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            return match self.then {
                Then::Closes => Poll::Ready(Ok(())),
                Then::Resets => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                // Only the deadline wakes the reader.
                Then::Waits => Poll::Pending,
            };
        }
        let most = self.rest.len().min(buffer.remaining());
        let (part, rest) = self.rest.split_at(self.dice.part(most));
        buffer.put_slice(part);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = bytes.len().min(self.room);
        if most == 0 {
            return match self.then {
                Then::Closes => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Then::Resets => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Then::Waits => Poll::Pending,
            };
        }
        let part = self.dice.part(most);
        self.room -= part;
        self.written.extend_from_slice(&bytes[..part]);
        Poll::Ready(Ok(part))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
