//! Packet captures with the DNS messages of the frames: `--pcap`. The headers in front of the DNS messages are made up.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::Ordering::Relaxed,
};

use super::{Output, OutputError, target::Target};
use crate::{
    cli::dump::{
        account::{OutputAccount, complain},
        batch::Batch,
    },
    dnstap::{self, RawFrame, RawMessage},
};

/// A packet capture that is being written.
pub(super) struct Pcap {
    target: Target,
    name: String,
    held: Vec<u8>,
    /// The number of packets in `held`.
    packets: u64,
}

/// One side of a packet.
#[derive(Debug, Clone, Copy)]
struct Side {
    address: IpAddr,
    port: u16,
}

/// The transport protocol of a DNS message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp = 17,
    Tcp = 6,
}

/// The magic number of a capture with times in nanoseconds. Readers learn the byte order of the capture's headers from
/// this number; tapfan writes the headers in little-endian order.
const MAGIC: u32 = 0xa1b2_3c4d;
/// The link type of packets that begin with their IP header (`LINKTYPE_RAW`).
const RAW: u32 = 101;
/// The longest packet.
const LONGEST: u32 = 65_535;
/// The longest DNS message that fits into a packet.
const LONGEST_MESSAGE: usize = 65_000;
/// The port for DNS.
const DOMAIN: u16 = 53;
/// The size in bytes at which buffered packets are written.
const HELD: usize = 64 << 10;

// === impl Pcap ===

impl Pcap {
    /// Writes the file header of the capture.
    pub(super) fn new(target: Target, name: String) -> Self {
        complain(format_args!(
            "{name}: the IP, UDP and TCP headers are made up from the addresses and ports of the frames"
        ));
        let mut pcap = Self {
            target,
            name,
            held: Vec::with_capacity(2 * HELD),
            packets: 0,
        };
        pcap.write_head();
        pcap
    }

    fn write_head(&mut self) {
        self.held.extend_from_slice(&MAGIC.to_le_bytes());
        self.held.extend_from_slice(&2_u16.to_le_bytes());
        self.held.extend_from_slice(&4_u16.to_le_bytes());
        self.held.extend_from_slice(&[0; 8]);
        self.held.extend_from_slice(&LONGEST.to_le_bytes());
        self.held.extend_from_slice(&RAW.to_le_bytes());
    }

    fn write_held(&mut self, account: &OutputAccount) -> io::Result<()> {
        self.target.write_all(&self.held)?;
        account.written.fetch_add(self.packets, Relaxed);
        self.packets = 0;
        self.held.clear();
        Ok(())
    }
}

impl Output for Pcap {
    fn write(&mut self, batch: &Batch, account: &OutputAccount) -> Result<(), OutputError> {
        for frame in batch.frames() {
            let frame = RawFrame::of_valid(frame);
            let message = frame.message.as_ref();
            if message.is_some_and(|message| write_packet(message, &mut self.held)) {
                self.packets += 1;
            } else {
                account.left_out.fetch_add(1, Relaxed);
            }
            if self.held.len() >= HELD {
                self.write_held(account)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, account: &OutputAccount) -> Result<(), OutputError> {
        self.write_held(account)?;
        Ok(self.target.flush()?)
    }

    fn reopen(&mut self, account: &OutputAccount) -> Result<(), OutputError> {
        self.flush(account)?;
        if let Some(successor) = self.target.successor()? {
            self.target = successor;
            self.write_head();
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, account: &OutputAccount) -> Result<(), OutputError> {
        self.flush(account)?;
        let left_out = account.left_out.load(Relaxed);
        if left_out > 0 {
            complain(format_args!(
                "{}: {left_out} frames have no DNS message that fits a packet and were left out",
                self.name
            ));
        }
        Ok(())
    }
}

/// Appends the packet for a message. Returns false if the frame has no DNS message, or if the message is too long.
fn write_packet(message: &RawMessage<'_>, out: &mut Vec<u8>) -> bool {
    let octets = message
        .dns()
        .filter(|octets| octets.len() <= LONGEST_MESSAGE);
    let Some(octets) = octets else { return false };
    let transport = transport(message);
    let [query, response] = sides(message);
    let (from, to) = if message.is_query() {
        (query, response)
    } else {
        (response, query)
    };
    let (seconds, nanoseconds) = message.time().normal().unwrap_or_default();
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    let segment = segment(transport, from, to, octets);
    let head = ip_head(transport, from.address, to.address, segment.len());
    let length = u32::try_from(head.len() + segment.len()).unwrap_or(LONGEST);
    for number in [seconds, nanoseconds, length, length] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&head);
    out.extend_from_slice(&segment);
    true
}

/// Returns the transport protocol of the packet. Messages of encrypted protocols are already decrypted, so they are
/// written as plain DNS.
fn transport(message: &RawMessage<'_>) -> Transport {
    match message.is_over_udp() {
        Some(false) => Transport::Tcp,
        _ => Transport::Udp,
    }
}

/// Returns the initiator and the responder of the DNS exchange. A missing address becomes the unspecified address, and
/// a missing port of the responder becomes port 53.
fn sides(message: &RawMessage<'_>) -> [Side; 2] {
    let address = |bytes: Option<&[u8]>| bytes.and_then(dnstap::address);
    let (query, response) = (
        address(message.query_address),
        address(message.response_address),
    );
    let is_v6 = [query, response]
        .into_iter()
        .flatten()
        .any(|it| it.is_ipv6());
    let known = |address: Option<IpAddr>| match (address, is_v6) {
        (None, true) => Ipv6Addr::UNSPECIFIED.into(),
        (None, false) => Ipv4Addr::UNSPECIFIED.into(),
        (Some(IpAddr::V4(address)), true) => address.to_ipv6_mapped().into(),
        (Some(address), _) => address,
    };
    let port = |port: Option<u32>| port.and_then(|port| u16::try_from(port).ok());
    // Programs that read the capture choose the protocol decoder by the port. The payload is always plain DNS, even if
    // the message came over an encrypted protocol. In that case port 53 replaces the port of the responder.
    let is_plain = matches!(message.socket_protocol, None | Some(1 | 2));
    let responder = port(message.response_port).filter(|_| is_plain);
    [
        Side {
            address: known(query),
            port: port(message.query_port).unwrap_or_default(),
        },
        Side {
            address: known(response),
            port: responder.unwrap_or(DOMAIN),
        },
    ]
}

/// Returns a UDP packet, or a TCP segment in the middle of a connection.
fn segment(transport: Transport, from: Side, to: Side, octets: &[u8]) -> Vec<u8> {
    // The length cannot overflow: it is at most 65,000 bytes plus the header.
    let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let mut segment = Vec::with_capacity(octets.len() + 22);
    segment.extend_from_slice(&from.port.to_be_bytes());
    segment.extend_from_slice(&to.port.to_be_bytes());
    let checksum_at = match transport {
        Transport::Udp => {
            segment.extend_from_slice(&short(8 + octets.len()));
            segment.extend_from_slice(&[0; 2]);
            6
        }
        Transport::Tcp => {
            // The sequence and acknowledgement numbers are 1, the header has 20 bytes, the flags are PSH and ACK, and
            // the window has its maximum size.
            segment.extend_from_slice(b"\0\0\0\x01\0\0\0\x01\x50\x18\xff\xff\0\0\0\0");
            segment.extend_from_slice(&short(octets.len()));
            16
        }
    };
    segment.extend_from_slice(octets);
    let mut sum = Sum::default();
    for address in [from.address, to.address] {
        match address {
            IpAddr::V4(address) => sum.add(&address.octets()),
            IpAddr::V6(address) => sum.add(&address.octets()),
        }
    }
    sum.add(&[0, transport as u8]);
    sum.add(&short(segment.len()));
    sum.add(&segment);
    // In UDP, a checksum of 0 means that there is none.
    let checksum = match sum.finish() {
        0 => 0xffff,
        checksum => checksum,
    };
    if let Some(place) = segment.get_mut(checksum_at..checksum_at + 2) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
    segment
}

fn ip_head(transport: Transport, from: IpAddr, to: IpAddr, length: usize) -> Vec<u8> {
    let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let mut head = Vec::with_capacity(40);
    if let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) {
        head.extend_from_slice(&[0x45, 0]);
        head.extend_from_slice(&short(20 + length));
        // The packet is not fragmented, and its TTL is 64.
        head.extend_from_slice(&[0, 0, 0x40, 0, 64, transport as u8, 0, 0]);
        head.extend_from_slice(&from.octets());
        head.extend_from_slice(&to.octets());
        let mut sum = Sum::default();
        sum.add(&head);
        head[10..12].copy_from_slice(&sum.finish().to_be_bytes());
        return head;
    }
    let octets = |address| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    head.extend_from_slice(&[0x60, 0, 0, 0]);
    head.extend_from_slice(&short(length));
    head.extend_from_slice(&[transport as u8, 64]);
    head.extend_from_slice(&octets(from));
    head.extend_from_slice(&octets(to));
    head
}

/// The Internet checksum (RFC 1071).
#[derive(Debug, Default)]
struct Sum(u32);

impl Sum {
    /// Adds bytes to the sum. If their number is odd, a zero byte is added after the last one.
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks(2) {
            let word = match pair {
                [high, low] => u16::from_be_bytes([*high, *low]),
                [high, ..] => u16::from_be_bytes([*high, 0]),
                [] => 0,
            };
            self.0 += u32::from(word);
            self.0 = (self.0 & 0xffff) + (self.0 >> 16);
        }
    }

    fn finish(&self) -> u16 {
        // The sum fits into 16 bits now.
        !u16::try_from((self.0 & 0xffff) + (self.0 >> 16)).unwrap_or(u16::MAX)
    }
}
