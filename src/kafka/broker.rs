//! A connection to one broker. At most one request is in flight.

use std::{
    io::{self, IoSlice},
    panic::resume_unwind,
    time::Duration,
};

use bytes::Buf;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::{JoinError, spawn_blocking},
    time::{Instant, sleep, timeout},
};

use super::{
    Credentials, Error, Metadata, Produced, ProducerId, Shipped,
    error::Doing,
    request,
    response::{self, Versions},
    sasl,
};

/// A connection to a broker that has answered.
#[derive(Debug)]
pub(crate) struct Broker<Io> {
    io: Io,
    /// The correlation id of the last request.
    correlation: i32,
    limits: Limits,
    versions: Versions,
    /// The time at which the sink must log in again. `None` if the login is valid without end.
    log_in_at: Option<Instant>,
    /// The compressed batches of a request. The buffers are reused.
    compressed: Vec<Vec<u8>>,
}

/// The deadlines of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The longest time from a request to its response, except for `Produce` requests.
    pub(crate) answer: Duration,
    /// The longest time in which the broker takes no data of a `Produce` request, and the longest time from the end of
    /// the request to its response.
    pub(crate) produce: Duration,
}

/// The parts of a request, in order.
#[derive(Debug)]
struct Parts<'a> {
    all: Vec<&'a [u8]>,
    /// The number of parts that are sent completely.
    done: usize,
    /// The bytes of the next part that are sent.
    sent: usize,
}

/// The length of the longest response that is read. A response with 16,384 partitions of three replicas has
/// 819 KB.
pub(super) const LONGEST_RESPONSE: usize = 1 << 20;

/// The memory of the buffers that are kept for the batches of the next request. It is enough for most requests. A request
/// of many partitions with data that cannot be compressed needs much more, and there is a connection for each broker.
const KEPT_AT_MOST: usize = 1 << 20;

/// The delay between requests to a broker that has no producer ids yet.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The longest time in which a whole `Produce` request is sent, as a multiple of `Limits::produce`.
const SLOWEST: u32 = 10;

/// The share of `Limits::produce` that the replicas get. The broker must report their timeout before tapfan closes the
/// connection.
const REPLICAS: f32 = 0.75;

/// The part of the lifetime of a login after which the sink logs in again. The Java client chooses a time between 85 and
/// 95 percent.
const VALID: f32 = 0.85;

/// The shortest time between two logins. Brokers refuse a second login within a second.
const SHORTEST: Duration = Duration::from_millis(1100);

// === impl Broker ===

impl<Io: AsyncRead + AsyncWrite + Unpin> Broker<Io> {
    /// Asks the broker which versions it supports, and logs in.
    ///
    /// # Errors
    /// If the peer is not a broker, is too old, or refuses the credentials.
    pub(crate) async fn start(
        io: Io,
        limits: Limits,
        credentials: Option<&Credentials>,
    ) -> Result<Self, Error> {
        let mut broker = Self {
            io,
            correlation: 0,
            limits,
            versions: Versions {
                produce: request::PRODUCE,
                authenticate: request::SASL_AUTHENTICATE_OLD,
            },
            log_in_at: None,
            compressed: Vec::new(),
        };
        let request = request::api_versions(broker.next());
        let answer = broker.ask(Doing::ApiVersions, &request).await?;
        broker.versions = response::api_versions(&answer, credentials.is_some())?;
        if let Some(credentials) = credentials {
            broker.log_in(credentials).await?;
        }
        Ok(broker)
    }

    /// Logs in. Call this also when [the time for it](Self::log_in_at) has come, between two requests (KIP-368).
    pub(crate) async fn log_in(&mut self, credentials: &Credentials) -> Result<(), Error> {
        self.log_in_at = None;
        let mechanism = credentials.mechanism.name();
        let request = request::sasl_handshake(self.next(), mechanism);
        let answer = self.ask(Doing::SaslHandshake, &request).await?;
        response::sasl_handshake(&answer, mechanism)?;
        let mut client = sasl::Client::new(credentials)?;
        let mut challenge = None;
        loop {
            // The broker sets the number of iterations, so a hostile one could block a worker that moves frames.
            let step = spawn_blocking(move || {
                let message = client.next(challenge.as_deref());
                (client, message)
            });
            let message = match step.await.map_err(JoinError::try_into_panic) {
                Ok((returned, message)) => {
                    client = returned;
                    message?
                }
                Err(Ok(fault)) => resume_unwind(fault),
                // The runtime is shutting down.
                Err(Err(_)) => return Err(Error::Closed(Doing::SaslAuthenticate)),
            };
            let Some(message) = message else {
                return Ok(());
            };
            let api = self.versions.authenticate;
            let request = request::sasl_authenticate(api, self.next(), &message);
            let sent = Instant::now();
            let answer = self.ask(Doing::SaslAuthenticate, &request).await?;
            let (message, lifetime) = response::sasl_authenticate(&answer, api)?;
            challenge = Some(message.to_vec());
            self.log_in_at = lifetime.map(|lifetime| sent + lifetime.mul_f32(VALID).max(SHORTEST));
        }
    }

    /// Returns the time at which the sink must log in again. Later, the broker would close the connection at the next
    /// request.
    pub(crate) fn log_in_at(&self) -> Option<Instant> {
        self.log_in_at
    }

    /// Returns the brokers and the partitions of `topic`.
    pub(crate) async fn metadata(&mut self, topic: &str) -> Result<Metadata, Error> {
        let request = request::metadata(self.next(), topic);
        let answer = self.ask(Doing::Metadata, &request).await?;
        response::metadata(&answer, topic)
    }

    /// Returns a new producer id.
    ///
    /// A broker that has just started has none. It is asked again until the deadline for a response.
    pub(crate) async fn init_producer_id(&mut self) -> Result<ProducerId, Error> {
        let deadline = Instant::now() + self.limits.answer;
        loop {
            let request = request::init_producer_id(self.next());
            let answer = self.ask(Doing::InitProducerId, &request).await?;
            match response::init_producer_id(&answer) {
                Err(error @ Error::Code { .. })
                    if error.is_passing() && Instant::now() < deadline =>
                {
                    sleep(ASK_AGAIN).await;
                }
                result => return result,
            }
        }
    }

    /// Sends batches, and returns the response.
    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        shipped: &mut Shipped,
    ) -> Result<Produced, Error> {
        let doing = Doing::Produce;
        let correlation = self.next();
        let after = self.limits.produce;
        let replicas = after.mul_f32(REPLICAS).as_millis();
        let replicas = i32::try_from(replicas).unwrap_or(i32::MAX);
        let mut compressed = std::mem::take(&mut self.compressed);
        let count = shipped.batches.len().max(compressed.len());
        compressed.resize_with(count, Vec::new);
        {
            let batches = shipped.seal(&mut compressed).await;
            let batches = batches.map_err(|source| Error::Io { doing, source })?;
            let sizes: Vec<_> = batches
                .iter()
                .map(|(partition, batch)| (*partition, batch.len()))
                .collect();
            let heads =
                request::produce(self.versions.produce, correlation, replicas, topic, &sizes);
            let each = heads.iter().zip(&batches);
            let parts = each.flat_map(|(head, (_, batch))| [head.as_slice(), batch]);
            self.send(Parts::new(parts.collect())).await?;
        }
        self.compressed = kept(compressed);
        let answer = match timeout(after, self.read_response(doing)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Error::Silent { doing, after }),
        };
        response::produced(&answer, self.versions.produce, topic)
    }

    /// Sends a `Produce` request.
    async fn send(&mut self, mut parts: Parts<'_>) -> Result<(), Error> {
        let (doing, after) = (Doing::Produce, self.limits.produce);
        let send = async {
            while parts.has_remaining() {
                let written = within(doing, after, self.io.write_buf(&mut parts)).await?;
                if written == 0 {
                    return Err(Error::Closed(doing));
                }
            }
            within(doing, after, self.io.flush()).await
        };
        // Each byte that the broker takes restarts the deadline of a write. This deadline is for the whole request.
        let after = after.saturating_mul(SLOWEST);
        match timeout(after, send).await {
            Ok(result) => result,
            Err(_) => Err(Error::Silent { doing, after }),
        }
    }

    /// Waits until the broker closes the connection. Call this only while no request is in progress.
    pub(crate) async fn closed(&mut self) -> Error {
        let doing = Doing::Idle;
        match self.io.read(&mut [0]).await {
            Ok(0) => Error::Closed(doing),
            Ok(_) => Error::OutOfPlace,
            Err(source) => Error::of_io(doing, source),
        }
    }

    fn next(&mut self) -> i32 {
        self.correlation = self.correlation.wrapping_add(1);
        self.correlation
    }

    /// Sends a request, and returns the body of the response.
    async fn ask(&mut self, doing: Doing, request: &[u8]) -> Result<Vec<u8>, Error> {
        let after = self.limits.answer;
        let ask = async {
            let written = self.io.write_all(request).await;
            written.map_err(|source| Error::of_io(doing, source))?;
            let flushed = self.io.flush().await;
            flushed.map_err(|source| Error::of_io(doing, source))?;
            self.read_response(doing).await
        };
        match timeout(after, ask).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Silent { doing, after }),
        }
    }

    /// Reads a response. Memory is allocated only for bytes that the broker has sent.
    async fn read_response(&mut self, doing: Doing) -> Result<Vec<u8>, Error> {
        let failed = |source| Error::of_io(doing, source);
        let length = self.io.read_i32().await.map_err(failed)?;
        let length = match usize::try_from(length) {
            Ok(length) if (4..=LONGEST_RESPONSE).contains(&length) => length,
            _ => return Err(Error::too_long(length)),
        };
        let correlation = self.io.read_i32().await.map_err(failed)?;
        if correlation != self.correlation {
            return Err(Error::OutOfPlace);
        }
        let length = length - 4;
        let mut body = Vec::new();
        let mut rest = (&mut self.io).take(length as u64);
        let read = rest.read_to_end(&mut body).await.map_err(failed)?;
        if read < length {
            return Err(Error::Closed(doing));
        }
        Ok(body)
    }
}

/// Returns the buffers that are kept for the next request.
pub(super) fn kept(mut buffers: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut memory = 0;
    buffers.retain(|buffer| {
        memory += buffer.capacity();
        memory <= KEPT_AT_MOST
    });
    buffers
}

async fn within<T>(
    doing: Doing,
    after: Duration,
    action: impl Future<Output = io::Result<T>>,
) -> Result<T, Error> {
    match timeout(after, action).await {
        Ok(result) => result.map_err(|source| Error::of_io(doing, source)),
        Err(_) => Err(Error::Silent { doing, after }),
    }
}

// === impl Shipped ===

impl Shipped {
    /// Returns the batches in the form in which they are sent, each with its partition.
    async fn seal<'a>(
        &'a mut self,
        compressed: &'a mut [Vec<u8>],
    ) -> io::Result<Vec<(i32, &'a [u8])>> {
        let compression = self.compression;
        let mut all = Vec::with_capacity(self.batches.len());
        for ((partition, batch), compressed) in self.batches.iter_mut().zip(compressed) {
            // `collect` has given each batch a stamp.
            let (Some(stamp), Ok(partition)) = (batch.stamp, i32::try_from(*partition)) else {
                continue;
            };
            let sealed = batch.records.seal(stamp, compression, compressed).await?;
            all.push((partition, sealed));
        }
        Ok(all)
    }
}

// === impl Parts ===

impl<'a> Parts<'a> {
    fn new(all: Vec<&'a [u8]>) -> Self {
        Self {
            all,
            done: 0,
            sent: 0,
        }
    }
}

impl Buf for Parts<'_> {
    fn remaining(&self) -> usize {
        let rest = self.all[self.done..].iter();
        rest.map(|part| part.len()).sum::<usize>() - self.sent
    }

    fn chunk(&self) -> &[u8] {
        let part = self.all.get(self.done).copied().unwrap_or_default();
        &part[self.sent..]
    }

    fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        while let Some(part) = self.all.get(self.done)
            && self.sent >= part.len()
        {
            self.sent -= part.len();
            self.done += 1;
        }
    }

    fn chunks_vectored<'b>(&'b self, slices: &mut [IoSlice<'b>]) -> usize {
        let mut skip = self.sent;
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(&self.all[self.done..]) {
            *slice = IoSlice::new(&part[skip..]);
            skip = 0;
            filled += 1;
        }
        filled
    }
}
