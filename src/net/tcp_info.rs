//! `TCP_INFO` and `SO_MEMINFO`: the state of a connection as Linux reports it.

use std::{os::fd::AsFd, time::Duration};

use nix::{
    libc,
    sys::socket::{getsockopt, sockopt::GetStruct},
};

/// The beginning of the kernel's `struct tcp_info`, in 32-bit words. Every kernel since Linux 2.6 fills in this part.
type Start = [u32; 15];

/// `struct tcp_info` up to `tcpi_notsent_bytes`, which every kernel since Linux 4.9 fills in. On an older kernel `nix`
/// would panic, because it expects the whole length.
type Longer = [u32; 37];

/// The beginning of the array that `SO_MEMINFO` returns. Later kernels only append to it.
type Memory = [u32; 6];

/// Indices into `struct tcp_info`. The word at `COUNTS` holds four bytes: `tcpi_state`, `tcpi_ca_state`,
/// `tcpi_retransmits` and `tcpi_probes`. The word at `BYTES_ACKNOWLEDGED` is the first half of a 64-bit value.
const COUNTS: usize = 0;
const SEGMENT_SIZE: usize = 4;
const SEGMENTS_IN_FLIGHT: usize = 6;
const LAST_ACK_RECEIVED: usize = 14;
const BYTES_ACKNOWLEDGED: usize = 30;
const BYTES_NOT_SENT: usize = 36;

/// `SK_MEMINFO_WMEM_ALLOC` of `linux/sock_diag.h`.
const SEND_MEMORY: usize = 2;

#[derive(Debug, Clone, Copy)]
struct TcpInfo;

#[derive(Debug, Clone, Copy)]
struct LongerTcpInfo;

#[derive(Debug, Clone, Copy)]
struct SocketMemory;

nix::getsockopt_impl!(
    TcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    Start,
    GetStruct<Start>
);

nix::getsockopt_impl!(
    LongerTcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    Longer,
    GetStruct<Longer>
);

nix::getsockopt_impl!(
    SocketMemory,
    libc::SOL_SOCKET,
    libc::SO_MEMINFO,
    Memory,
    GetStruct<Memory>
);

/// The acknowledged and waiting bytes of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sending {
    /// Bytes that the peer's kernel has acknowledged so far. Our SYN counts as one byte.
    pub(super) acknowledged: u64,
    /// An upper bound on the bytes not acknowledged yet.
    pub(super) waiting: u64,
}

/// Returns the time since the peer of a TCP socket acknowledged anything.
pub(super) fn last_acknowledged(socket: &impl AsFd) -> Option<Duration> {
    let info = getsockopt(socket, TcpInfo).ok()?;
    Some(Duration::from_millis(info[LAST_ACK_RECEIVED].into()))
}

/// Returns whether the kernel has retransmitted data to the peer of a TCP socket, or probed it, and has had no answer
/// yet.
pub(super) fn awaits_answer(socket: &impl AsFd) -> Option<bool> {
    let info = getsockopt(socket, TcpInfo).ok()?;
    let [_, _, retransmits, probes] = info[COUNTS].to_ne_bytes();
    Some(retransmits > 0 || probes > 0)
}

/// Returns the acknowledged and waiting bytes of a TCP connection; `None` before Linux 4.12.
pub(super) fn sending(socket: &impl AsFd) -> Option<Sending> {
    // The longer `tcp_info` needs Linux 4.9. `SO_MEMINFO` needs Linux 4.12, so a kernel that has it also has the longer
    // `tcp_info`.
    send_memory(socket)?;
    let info = getsockopt(socket, LongerTcpInfo).ok()?;
    let mut acknowledged = [0; 8];
    let (first, second) = acknowledged.split_at_mut(4);
    first.copy_from_slice(&info[BYTES_ACKNOWLEDGED].to_ne_bytes());
    second.copy_from_slice(&info[BYTES_ACKNOWLEDGED + 1].to_ne_bytes());
    let in_flight = u64::from(info[SEGMENTS_IN_FLIGHT]) * u64::from(info[SEGMENT_SIZE]);
    Some(Sending {
        acknowledged: u64::from_ne_bytes(acknowledged),
        waiting: in_flight + u64::from(info[BYTES_NOT_SENT]),
    })
}

/// Returns the size in bytes of the memory that holds the data written to a socket. On a unix socket, data is held
/// until the peer has read it.
pub(super) fn send_memory(socket: &impl AsFd) -> Option<u64> {
    let memory = getsockopt(socket, SocketMemory).ok()?;
    Some(memory[SEND_MEMORY].into())
}
