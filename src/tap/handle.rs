//! The handle with which the threads of a server send messages.

use std::{fmt, sync::Arc};

use super::{Message, MessageType, Metadata, intake::Intake};

/// Sends messages to the sinks of a [`Taps`](super::Taps) or a [`MemoryTap`](super::MemoryTap).
///
/// Clones are cheap and equivalent. Any thread and any task may use a clone at any time. A message that is sent after
/// the drain counts as lost. The default handle has no sinks and sends nothing.
///
/// ```
/// use std::{net::SocketAddr, time::SystemTime};
/// use tapfan::tap::{Handle, Message, MessageType, Protocol};
///
/// fn received(taps: &Handle, client: SocketAddr, wire: &[u8]) {
///     if taps.wants(MessageType::ClientQuery) {
///         taps.send(&Message::client_query(Protocol::Udp, client, SystemTime::now(), wire));
///     }
/// }
/// ```
#[derive(Clone, Default)]
pub struct Handle(Option<Arc<Intake>>);

// === impl Handle ===

impl Handle {
    pub(super) fn new(intake: &Arc<Intake>) -> Self {
        Self(Some(Arc::clone(intake)))
    }

    /// Returns whether any sink wants messages of this type. If not, the server does not need to build such a message. A
    /// sink does not want the types that its option `types` leaves out.
    ///
    /// The call is cheap: it reads one number. It also returns false if there are no sinks, and after the drain.
    #[inline]
    pub fn wants(&self, message_type: MessageType) -> bool {
        self.0
            .as_ref()
            .is_some_and(|intake| intake.wants(message_type))
    }

    /// Returns whether any sink wants the wire bytes of messages. A sink wants them if it is `full`, or if its `extra`
    /// contains values that are read from them. If no sink wants them, a server that no longer has the wire bytes does
    /// not need to encode the message again.
    #[inline]
    pub fn wants_wire(&self) -> bool {
        self.0.as_ref().is_some_and(|intake| intake.wants_wire())
    }

    /// Returns whether any sink wants the metadata of messages, because its `extra` contains a metadata label.
    #[inline]
    pub fn wants_metadata(&self) -> bool {
        let intake = self.0.as_ref();
        intake.is_some_and(|intake| intake.wants_metadata())
    }

    /// Sends a message to every sink.
    ///
    /// Never waits for a sink and never fails. Lost messages are counted in the ledgers. If a sink's queue has no room
    /// for a message, that sink counts it as `queue_full`. A message after the drain counts as `shutdown`. A message
    /// that has no type in the schema or is larger than 256 KiB counts as `malformed` at every sink.
    ///
    /// The message is copied into the batch of this thread, and the batch goes to the sinks' queues within a
    /// millisecond. The messages of a thread stay in order.
    #[inline]
    pub fn send(&self, message: &Message<'_>) {
        if let Some(intake) = &self.0 {
            intake.send(message, &[]);
        }
    }

    /// Does the same as [`send`](Self::send), and adds metadata for sinks whose `extra` has placeholders of the form
    /// `{/label/name}`. Without such a sink, the metadata has no effect.
    ///
    /// ```
    /// use tapfan::tap::{Handle, Message, Metadata};
    ///
    /// fn forwarded(taps: &Handle, message: &Message<'_>, upstream: &str) {
    ///     let mut metadata = Metadata::new();
    ///     if taps.wants_metadata() {
    ///         metadata.set("forward/upstream", upstream);
    ///     }
    ///     taps.send_with(message, &metadata);
    /// }
    /// ```
    #[inline]
    pub fn send_with(&self, message: &Message<'_>, metadata: &Metadata) {
        if let Some(intake) = &self.0 {
            let wanted = intake.wants_metadata();
            let labels = if wanted { metadata.bytes() } else { &[] };
            intake.send(message, labels);
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("has_sinks", &self.0.is_some())
            .finish()
    }
}
