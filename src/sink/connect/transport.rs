//! The ways in which frames leave the router: Frame Streams, files, and Kafka.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tower::Service;

#[cfg(feature = "kafka")]
use crate::sink::{KafkaConnection, KafkaWrite};
use crate::{
    net::Stream,
    sink::{Connection, FileConnection, FileWrite, Outgoing, SinkError, Write},
};

/// A connection to a collector, a file, or the connections to the brokers of a topic.
#[derive(Debug)]
pub(crate) enum Transport {
    FrameStreams(Connection<Stream>),
    File(FileConnection),
    #[cfg(feature = "kafka")]
    Kafka(KafkaConnection),
}

/// The response of a [`Transport`].
#[derive(Debug)]
pub(crate) enum Transfer {
    FrameStreams(Write<Stream>),
    File(FileWrite),
    #[cfg(feature = "kafka")]
    Kafka(KafkaWrite),
}

// === impl Transport ===

impl Service<Outgoing> for Transport {
    type Response = ();
    type Error = SinkError;
    type Future = Transfer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        match self {
            Self::FrameStreams(connection) => connection.poll_ready(cx),
            Self::File(file) => file.poll_ready(cx),
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => kafka.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Outgoing) -> Transfer {
        match self {
            Self::FrameStreams(connection) => Transfer::FrameStreams(connection.call(request)),
            Self::File(file) => Transfer::File(file.call(request)),
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => Transfer::Kafka(kafka.call(request)),
        }
    }
}

// === impl Transfer ===

impl Future for Transfer {
    type Output = Result<(), SinkError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::FrameStreams(write) => Pin::new(write).poll(cx),
            Self::File(write) => Pin::new(write).poll(cx),
            #[cfg(feature = "kafka")]
            Self::Kafka(write) => Pin::new(write).poll(cx),
        }
    }
}
