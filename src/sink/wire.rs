//! The byte stream of a connection to a collector, and the state of the collector.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, ReadBuf};

use super::{Checkpoint, confirmation::Confirmation, receipts::Receipts};
use crate::{
    config::Confirm,
    frame_stream::BackChannel,
    health::{Disconnect, Reporter},
    net::{Liveness, PeerCheck, Uptake},
};

/// The byte stream of a connection, and the state of the collector. The service and the future of its current request
/// share this value.
///
/// After a panic, a frame may be half written. That does no harm, because the restart of the driver drops the stream.
#[derive(Debug)]
pub(super) struct Wire<Io: Uptake> {
    pub(super) io: Io,
    back_channel: BackChannel,
    /// The reporter that is informed about stalled writes.
    pub(super) status: Option<Reporter>,
    /// The longest time for which the collector may take no data.
    patience: Duration,
    check: PeerCheck,
    ended: Option<Arc<Disconnect>>,
    /// The frames that were written and are not confirmed yet.
    pub(super) receipts: Receipts,
    confirmation: Option<Confirmation>,
    /// True after STOP was sent.
    pub(super) stop_sent: bool,
}

// === impl Wire ===

impl<Io: Uptake> Wire<Io> {
    /// Creates the state of a stream on which START was sent. If the collector takes no data for `patience`, the stream
    /// counts as stalled.
    pub(super) fn new(io: Io, patience: Duration) -> Self {
        Self {
            io,
            back_channel: BackChannel::new(),
            status: None,
            patience,
            check: PeerCheck::new(patience),
            ended: None,
            receipts: Receipts::none(),
            confirmation: None,
            stop_sent: false,
        }
    }
}

impl<Io: AsyncRead + Liveness + Uptake + Unpin> Wire<Io> {
    /// Reads the data from the collector until there is no more. Becomes ready when the connection has ended.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Disconnect>> {
        loop {
            if let Some(cause) = &self.ended {
                return Poll::Ready(Arc::clone(cause));
            }
            let mut space = [0; 512];
            let mut buffer = ReadBuf::new(&mut space);
            let cause = match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => Disconnect::Closed,
                Ok(()) => match self.back_channel.feed(buffer.filled()) {
                    Ok(false) => {
                        if self.back_channel.is_asked_to_end() {
                            self.receipts.ask_to_end();
                        }
                        continue;
                    }
                    Ok(true) => Disconnect::Finished,
                    Err(error) => error.into(),
                },
                Err(error) => return Poll::Ready(self.fail(error)),
            };
            return Poll::Ready(self.end(cause));
        }
    }
}

impl<Io: Uptake> Wire<Io> {
    /// Starts to keep frames until they are confirmed in the way that `confirmation` requires. If the collector must
    /// confirm the frames with FINISH, returns the checkpoint, which says when this connection must end so that FINISH
    /// is sent.
    pub(super) fn confirm(&mut self, confirmation: Confirmation) -> Option<Checkpoint> {
        let confirm = confirmation.begin();
        // The kernel gives no acknowledgements for this kind of socket, so it makes no sense to wait for them.
        let never = confirm == Confirm::Kernel && self.io.acknowledged().is_none();
        let confirm = if never { Confirm::Written } else { confirm };
        self.receipts = Receipts::new(confirm, &confirmation);
        self.confirmation = Some(confirmation);
        self.receipts.checkpoint()
    }

    /// Returns the number of bytes that this connection has sent so far. `None` if this number is not needed.
    pub(super) fn position(&self) -> Option<u64> {
        self.receipts.needs_marks().then(|| self.io.sent())?
    }

    /// Confirms the frames that the collector's kernel has acknowledged. If the connection has ended, the frames that
    /// are not confirmed return to the queue.
    pub(super) fn acknowledge(&mut self) {
        if self.receipts.needs_marks()
            && self.receipts.is_waiting()
            && let Some(acknowledged) = self.io.acknowledged()
        {
            self.receipts.acknowledge(acknowledged);
        }
        if self.ended.is_some() {
            let is_missing = self.receipts.checkpoint().is_some() && self.receipts.is_waiting();
            if let Some(confirmation) = self.confirmation.as_ref().filter(|_| is_missing) {
                confirmation.missed(self.stop_sent);
            }
            if self.receipts.is_waiting() {
                self.io.discard_on_close();
            }
            self.receipts.give_up();
        }
    }
}

impl<Io: Uptake> Wire<Io> {
    /// Ends the connection after STOP. If the collector has sent FINISH, all frames are confirmed, because it sends
    /// FINISH after it has read them.
    pub(super) fn stopped(&mut self) {
        let cause = self.end(Disconnect::Stopped);
        if let Disconnect::Finished = *cause {
            self.receipts.confirm_all();
            if let Some(confirmation) = &self.confirmation {
                confirmation.finished();
            }
        }
    }
}

impl<Io: Liveness + Uptake> Wire<Io> {
    /// Becomes ready in two cases: the collector has taken no data for too long, or its machine has not answered for
    /// too long.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Disconnect>> {
        self.check.poll(&self.io, cx).map(|()| self.stall())
    }
}

impl<Io: Liveness + Uptake> Wire<Io> {
    /// Ends the connection after a failed read or write.
    pub(super) fn fail(&mut self, error: io::Error) -> Arc<Disconnect> {
        let answers = self.answers();
        self.end(Disconnect::of(error, answers, self.patience))
    }

    /// Ends the connection because the collector took no data for too long.
    pub(super) fn stall(&mut self) -> Arc<Disconnect> {
        // The collector at the other end of a unix socket is on this machine. It can stall, but it cannot be
        // unreachable.
        let gone = self.io.last_heard().is_some() && !self.answers();
        self.end(if gone {
            Disconnect::Unreachable
        } else {
            Disconnect::Stalled(self.patience)
        })
    }

    /// Returns whether the collector's machine still answers the packets of this machine.
    fn answers(&self) -> bool {
        // If a machine is dead, it has not answered the last probe of the kernel, and its last answer came before the
        // stall began, that is, at least `patience` ago. If a machine is alive, it has answered the last probe, except
        // in the moment just after the probe was sent. The age of the last answer is not enough to decide: on a busy
        // machine this check runs late, and the kernel doubles the time between its probes.
        let heard = self.io.last_heard();
        heard.is_some_and(|ago| ago < self.patience.mul_f64(0.9) || !self.io.awaits_answer())
    }
}

impl<Io: Uptake> Wire<Io> {
    /// Records that data was written.
    pub(super) fn wrote(&mut self) {
        self.check.wrote();
    }

    /// Marks the connection as ended. If it has already ended, the first reason is kept.
    pub(super) fn end(&mut self, cause: Disconnect) -> Arc<Disconnect> {
        Arc::clone(self.ended.get_or_insert_with(|| Arc::new(cause)))
    }
}

impl<Io: Uptake> Drop for Wire<Io> {
    /// Confirms the frames that the collector's kernel has acknowledged, so that they are not sent again. This happens
    /// however the connection ends.
    fn drop(&mut self) {
        self.end(Disconnect::Aborted);
        self.acknowledge();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::UptakeLevel;

    /// A peer that was last heard this number of seconds ago. The second field is true if the kernel waits for an
    /// answer.
    struct Heard(Option<u64>, bool);

    impl Uptake for Heard {
        fn uptake(&self) -> Option<UptakeLevel> {
            None
        }
    }

    impl Liveness for Heard {
        fn last_heard(&self) -> Option<Duration> {
            self.0.map(Duration::from_secs)
        }

        fn awaits_answer(&self) -> bool {
            self.1
        }
    }

    #[tokio::test]
    async fn an_unreachable_collector_is_distinguished_from_a_hung_one() {
        let wire = |heard| Wire::new(Heard(heard, true), Duration::from_secs(30));
        for (heard, label) in [
            // On a unix socket.
            (None, "write_timeout"),
            // The peer answers the window probes of TCP.
            (Some(0), "write_timeout"),
            (Some(14), "write_timeout"),
            (Some(30), "unreachable"),
            (Some(600), "unreachable"),
        ] {
            assert_eq!(wire(heard).stall().label(), label, "{heard:?}");
        }
        // The check runs late, but the peer has answered the last probe.
        let mut late = Wire::new(Heard(Some(31), false), Duration::from_secs(30));
        assert_eq!(late.stall().label(), "write_timeout");
        // The timeout of the kernel can come before the timeout of tapfan.
        let time_out = || io::Error::from(io::ErrorKind::TimedOut);
        for (heard, label) in [(Some(1), "write_timeout"), (Some(30), "unreachable")] {
            assert_eq!(wire(heard).fail(time_out()).label(), label, "{heard:?}");
        }
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(wire(Some(1)).fail(reset).label(), "reset");
    }
}
