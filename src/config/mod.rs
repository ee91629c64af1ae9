//! The Tapfile: what an operator writes, checked and turned into [`Config`].
//!
//! Called by `cli` and `supervisor`; calls only `net::address` for the forms of a SOCKET.

mod model;

pub use model::{
    Config, Edits, Listen, ListenAddress, ListenLimits, ListenTls, QueueLimits, Sink, SinkTls,
    UnixPermissions,
};
