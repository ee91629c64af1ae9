//! `TCP_INFO` and `SO_MEMINFO`: what Linux knows of a connection.

use std::os::fd::AsFd;

use nix::{
    libc,
    sys::socket::{getsockopt, sockopt::GetStruct},
};

/// The beginning of the kernel's `struct tcp_info`, in words of 32 bits: as much as every kernel since Linux 2.6 gives.
type Start = [u32; 15];

/// The same up to `tcpi_notsent_bytes`: as much as every kernel since Linux 4.9 gives. Asking an older one panics in `nix`,
/// which wants the whole length.
type Longer = [u32; 37];

/// The beginning of what `SO_MEMINFO` gives, which has only grown.
type Memory = [u32; 6];

/// Places in `struct tcp_info`. The last is the first half of 64 bits.
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

/// Bytes that a TCP connection has sent or is to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sending {
    /// All that the peer's system has acknowledged so far. Its own handshake counts, too.
    pub(super) acknowledged: u64,
    /// What it has not, at the most.
    pub(super) waiting: u64,
}

/// Returns the milliseconds since the peer of a TCP socket acknowledged anything.
pub(super) fn last_acknowledged(socket: &impl AsFd) -> Option<u32> {
    let info = getsockopt(socket, TcpInfo).ok()?;
    info.get(LAST_ACK_RECEIVED).copied()
}

/// Returns what a TCP connection has sent and is to send; `None` before Linux 4.12.
pub(super) fn sending(socket: &impl AsFd) -> Option<Sending> {
    // `SO_MEMINFO` came with Linux 4.12: a kernel that has it has the longer `tcp_info`.
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

/// The memory that holds what was written to a socket, in bytes. On a unix socket it is held until the peer has read it.
pub(super) fn send_memory(socket: &impl AsFd) -> Option<u64> {
    let memory = getsockopt(socket, SocketMemory).ok()?;
    Some(memory[SEND_MEMORY].into())
}
