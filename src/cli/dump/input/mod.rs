//! The inputs: captures and sockets. Each input has a thread that sends batches to the pump.

mod files;
mod follow;
mod sockets;

pub(super) use files::{Capture, Files, read};
pub(super) use follow::follow;
pub(super) use sockets::{Sockets, forward};
