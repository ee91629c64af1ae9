//! Sockets that accept: unix sockets with their permissions, and TCP.

/// Who may connect to a unix socket in the file system. Ignored for an abstract one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixPermissions {
    /// Permission bits; `0o660` unless asked otherwise.
    pub mode: u32,
    /// A user's name or number; the socket stays the process's own if `None`.
    pub owner: Option<String>,
    /// A group's name or number.
    pub group: Option<String>,
}
