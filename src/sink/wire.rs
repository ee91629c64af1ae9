//! The stream of a connection, and the state of its peer.

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

/// The stream and the state of its peer. The service and the future of its request share it.
///
/// After a panic a frame may be half written, but the restart of the driver drops the stream.
#[derive(Debug)]
pub(super) struct Wire<Io: Uptake> {
    pub(super) io: Io,
    back_channel: BackChannel,
    /// The reporter of writes that make no progress.
    pub(super) status: Option<Reporter>,
    /// The longest time without progress: the collector must take some data within it.
    patience: Duration,
    check: PeerCheck,
    ended: Option<Arc<Disconnect>>,
    /// The frames that were written and not confirmed.
    pub(super) receipts: Receipts,
    confirmation: Option<Confirmation>,
    /// True after STOP was sent.
    pub(super) stop_sent: bool,
}

// === impl Wire ===

impl<Io: Uptake> Wire<Io> {
    /// Creates the state of a stream on which START was sent. If the collector takes no data for `patience`, it has
    /// stalled.
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
    /// Reads the back channel until it is empty. Becomes ready when the connection has ended.
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
                    Ok(false) => continue,
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
    /// From now on, keeps the frames until they are confirmed in the way that `confirmation` asks for. If FINISH
    /// confirms the frames, returns the checkpoint at which this connection must end.
    pub(super) fn confirm(&mut self, confirmation: Confirmation) -> Option<Checkpoint> {
        let confirm = confirmation.begin();
        // Without acknowledgements there is nothing to wait for.
        let never = confirm == Confirm::Kernel && self.io.acknowledged().is_none();
        let confirm = if never { Confirm::Written } else { confirm };
        self.receipts = Receipts::new(confirm, &confirmation);
        self.confirmation = Some(confirmation);
        self.receipts.checkpoint()
    }

    /// The number of bytes that this connection has sent so far, if it is needed.
    pub(super) fn position(&self) -> Option<u64> {
        self.receipts.needs_marks().then(|| self.io.sent())?
    }

    /// Confirms the frames that the collector's kernel has acknowledged. After the end of the connection, the other
    /// frames return to the queue.
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
    /// Ends the connection after STOP. FINISH confirms all frames, because the collector sends it after it has read them.
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
    /// Becomes ready when the collector has taken no waiting data for too long, or its machine has not answered for too
    /// long.
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
        // The peer of a unix socket is on this machine, so it can stall but not be unreachable.
        let gone = self.io.last_heard().is_some() && !self.answers();
        self.end(if gone {
            Disconnect::Unreachable
        } else {
            Disconnect::Stalled(self.patience)
        })
    }

    /// Returns whether the collector's machine still answers.
    fn answers(&self) -> bool {
        // A dead machine has not answered the kernel's last probe. Its last answer came before the stall began, that
        // is, at least `patience` ago. A live machine has answered the last probe, except for the moment just after the
        // probe was sent. The age of the last answer alone is not enough: on a busy machine this check runs late, and
        // the kernel doubles the time between its probes.
        let heard = self.io.last_heard();
        heard.is_some_and(|ago| ago < self.patience.mul_f64(0.9) || !self.io.awaits_answer())
    }
}

impl<Io: Uptake> Wire<Io> {
    /// Reports that data was written.
    pub(super) fn wrote(&mut self) {
        self.check.wrote();
    }

    /// Marks the connection as ended. If it has already ended, the first cause stays.
    pub(super) fn end(&mut self, cause: Disconnect) -> Arc<Disconnect> {
        Arc::clone(self.ended.get_or_insert_with(|| Arc::new(cause)))
    }
}

impl<Io: Uptake> Drop for Wire<Io> {
    /// The frames that the collector's kernel has acknowledged are not sent again, however the connection ends.
    fn drop(&mut self) {
        self.end(Disconnect::Aborted);
        self.acknowledge();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::UptakeLevel;

    /// The time in seconds since the peer was last heard, and whether an answer is awaited.
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
            // The peer answers the window probes.
            (Some(0), "write_timeout"),
            (Some(14), "write_timeout"),
            (Some(30), "unreachable"),
            (Some(600), "unreachable"),
        ] {
            assert_eq!(wire(heard).stall().label(), label, "{heard:?}");
        }
        // The check runs late, but the last probe was answered.
        let mut late = Wire::new(Heard(Some(31), false), Duration::from_secs(30));
        assert_eq!(late.stall().label(), "write_timeout");
        // The kernel's own timeout can come first.
        let time_out = || io::Error::from(io::ErrorKind::TimedOut);
        for (heard, label) in [(Some(1), "write_timeout"), (Some(30), "unreachable")] {
            assert_eq!(wire(heard).fail(time_out()).label(), label, "{heard:?}");
        }
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(wire(Some(1)).fail(reset).label(), "reset");
    }
}
