//! The loads that are measured.

use std::fmt;

use crate::socket::Transport;

/// One load, and the sinks that get it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) load: Load,
    /// The number of connections from DNS servers.
    pub(crate) senders: u32,
    pub(crate) sinks: u32,
    /// True if each sink edits two fields of each frame.
    pub(crate) edited: bool,
    /// The transport of senders and sinks.
    pub(crate) transport: Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// The senders are connected and write nothing.
    Idle,
    /// Frames per second, of all senders together, and frames in one write.
    Rate(u32, u32),
    /// As much as the router and the collectors take.
    Bulk,
}

pub(crate) const ALL: [Case; 32] = [
    idle(),
    idle().from(1000),
    rate(10, 1),
    rate(1_000, 1),
    rate(1_000, 1).from(10),
    rate(1_000, 32),
    rate(20_000, 1),
    rate(20_000, 1).from(10),
    rate(20_000, 1).from(100),
    rate(20_000, 1).from(1000),
    rate(20_000, 1).to(1),
    rate(20_000, 1).to(8),
    rate(20_000, 1).edited(),
    rate(20_000, 1).over(Transport::Tcp),
    rate(20_000, 1).over(Transport::Tls),
    rate(20_000, 32),
    rate(20_000, 32).from(100),
    rate(100_000, 1),
    rate(100_000, 1).from(100),
    rate(100_000, 1).from(1000),
    rate(100_000, 32),
    rate(100_000, 32).from(10),
    rate(100_000, 32).from(100),
    rate(100_000, 32).to(8),
    rate(100_000, 32).edited(),
    rate(100_000, 32).over(Transport::Tcp),
    rate(100_000, 32).over(Transport::Tls),
    bulk(),
    bulk().to(8),
    bulk().edited(),
    bulk().over(Transport::Tcp),
    bulk().over(Transport::Tls),
];

/// The cases of a trial. Each takes another path through this program.
pub(crate) const TRIAL: [Case; 7] = [
    idle(),
    rate(1_000, 1),
    rate(20_000, 1).from(100),
    rate(20_000, 32).edited(),
    rate(20_000, 32).over(Transport::Tcp),
    rate(20_000, 32).over(Transport::Tls),
    bulk(),
];

const fn idle() -> Case {
    case(Load::Idle)
}

const fn rate(frames: u32, in_one_write: u32) -> Case {
    case(Load::Rate(frames, in_one_write))
}

const fn bulk() -> Case {
    case(Load::Bulk)
}

const fn case(load: Load) -> Case {
    Case {
        load,
        senders: 1,
        sinks: 2,
        edited: false,
        transport: Transport::Unix,
    }
}

// === impl Case ===

impl Case {
    const fn from(self, senders: u32) -> Self {
        Self { senders, ..self }
    }

    const fn to(self, sinks: u32) -> Self {
        Self { sinks, ..self }
    }

    const fn edited(self) -> Self {
        Self {
            edited: true,
            ..self
        }
    }

    const fn over(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }
}

impl fmt::Display for Case {
    /// Writes the name, which mentions only what differs from one sender and two full unix sinks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.load {
            Load::Idle => write!(f, "idle")?,
            Load::Rate(frames, writes) if frames % 1000 == 0 => {
                write!(f, "{}k-{writes}", frames / 1000)?;
            }
            Load::Rate(frames, writes) => write!(f, "{frames}-{writes}")?,
            Load::Bulk => write!(f, "bulk")?,
        }
        if self.senders != 1 {
            write!(f, "-from-{}", self.senders)?;
        }
        if self.sinks != 2 {
            write!(f, "-to-{}", self.sinks)?;
        }
        if self.edited {
            write!(f, "-edited")?;
        }
        if self.transport != Transport::Unix {
            write!(f, "-{}", self.transport.name())?;
        }
        Ok(())
    }
}
