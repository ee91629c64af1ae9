//! The facts about a frame that rules compare with their words. Each fact is read when a rule first needs it.

use std::{cell::OnceCell, net::IpAddr};

use super::client;
use crate::dnstap::{MessageType, Outline, RawFrame, RawMessage};

/// A frame as rules see it. A frame that is not a dnstap message has no facts, and no rule matches it.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    frame: &'a [u8],
    outline: Outline,
    message: OnceCell<Option<RawMessage<'a>>>,
}

/// The number of `Dnstap.type` for a frame with a message.
const MESSAGE: u32 = 1;

// === impl Facts ===

impl<'a> Facts<'a> {
    /// Creates the facts about a frame with this outline, which is known from the chunk of the frame.
    pub(crate) fn new(frame: &'a [u8], outline: Outline) -> Self {
        Self {
            frame,
            outline,
            message: OnceCell::new(),
        }
    }

    /// Creates the facts about a frame whose fields are already read.
    #[cfg(any(test, feature = "cli"))]
    pub(crate) fn of(raw: &RawFrame<'a>) -> Self {
        let message = raw.message.filter(|_| raw.kind == MESSAGE);
        let message_type = message.map(|message| message.message_type());
        Self {
            frame: &[],
            outline: Outline::of(message_type.unwrap_or_default()),
            message: message.into(),
        }
    }

    /// Returns the type of the message; unknown for a frame without a message.
    pub(crate) fn message_type(&self) -> MessageType {
        self.outline.message_type
    }

    pub(super) fn message(&self) -> Option<&RawMessage<'a>> {
        let read = || {
            let raw = RawFrame::of_valid(self.frame);
            raw.message.filter(|_| raw.kind == MESSAGE)
        };
        self.message.get_or_init(read).as_ref()
    }

    /// Returns whether the frame has a query. A frame without a message counts as a query, because it has no response.
    pub(super) fn is_query(&self) -> bool {
        match self.message_type() {
            MessageType::Unknown => self.message().is_none_or(RawMessage::is_query),
            known => known.is_query(),
        }
    }

    pub(super) fn client(&self) -> Option<IpAddr> {
        self.message().and_then(client)
    }

    /// Returns the number of the transport protocol.
    pub(super) fn protocol(&self) -> Option<u32> {
        self.message()?.socket_protocol
    }

    /// Returns the DNS message that the type refers to. It is empty if the frame has none.
    pub(super) fn dns(&self) -> &'a [u8] {
        let quick = match self.message.get() {
            None => self.outline.dns(self.frame),
            Some(_) => None,
        };
        quick.or_else(|| self.message()?.dns()).unwrap_or_default()
    }
}
