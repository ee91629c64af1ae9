//! Where frames come from. Each input has a thread that sends batches to the pump.

mod files;
mod follow;
mod open;
mod sockets;

pub(super) use files::{Files, read};
pub(super) use follow::follow;
pub(super) use open::Capture;
pub(super) use sockets::{Sockets, forward};
