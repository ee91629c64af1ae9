//! The inputs: captures and sockets. Each input has a thread that sends batches of frames to the pump, the loop that
//! passes them to the outputs.

mod files;
mod follow;
mod sockets;

pub(super) use files::{Capture, Files, read};
pub(super) use follow::follow;
pub(super) use sockets::{Sockets, forward};
