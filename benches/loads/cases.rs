//! The loads that are measured.

use std::fmt;

use crate::{socket::Transport, table::Row};

/// A load to measure, together with the sinks that get its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) load: Load,
    /// The number of connections from DNS servers.
    pub(crate) senders: u32,
    pub(crate) sinks: u32,
    pub(crate) edit: Edit,
    /// The transport of senders and sinks: unix, TCP or TLS.
    pub(crate) transport: Transport,
    /// The number of bytes in each frame; `None` for the recorded frames.
    pub(crate) size: Option<u32>,
    /// The `confirm` of each sink.
    pub(crate) confirm: &'static str,
    /// True if each sink has a spool.
    pub(crate) spool: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// The senders are connected, but write nothing.
    Idle,
    /// The number of frames per second, written by all senders together, and the number of frames
    /// in one write.
    Rate(u32, u32),
    /// The senders write as fast as the router and the collectors read.
    Bulk,
}

/// The edits of each sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edit {
    /// No edits: the sinks are `full`.
    None,
    /// The sinks are `full`, and set `identity` and `version`.
    Fields,
    /// The sinks remove the DNS messages.
    NoWire,
    /// The sinks remove the DNS messages, and set `identity`.
    NoWireIdentity,
}

/// The default of `confirm`.
const WRITTEN: &str = "written";

pub(crate) const ALL: [Case; 45] = [
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
    rate(20_000, 1).edit(Edit::Fields),
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
    rate(100_000, 32).edit(Edit::Fields),
    rate(100_000, 32).over(Transport::Tcp),
    rate(100_000, 32).over(Transport::Tls),
    bulk(),
    bulk().to(1),
    bulk().to(8),
    bulk().edit(Edit::Fields),
    bulk().to(1).edit(Edit::NoWire),
    bulk().to(1).edit(Edit::NoWireIdentity),
    bulk().to(3).edit(Edit::NoWireIdentity),
    bulk().over(Transport::Tcp),
    bulk().over(Transport::Tls),
    rate(20_000, 1).over(Transport::Tcp).confirming("kernel"),
    bulk().over(Transport::Tcp).confirming("kernel"),
    bulk().over(Transport::Tcp).confirming("finish"),
    bulk().over(Transport::Tls).confirming("kernel"),
    rate(20_000, 1).spooled(),
    bulk().spooled(),
    rate(20_000, 1)
        .over(Transport::Tcp)
        .confirming("kernel")
        .spooled(),
    bulk().over(Transport::Tcp).confirming("kernel").spooled(),
    rate(20_000, 1)
        .over(Transport::Tcp)
        .confirming("finish")
        .spooled(),
];

/// Pairs of cases whose costs are compared: the cost of the first case of a pair with that of the
/// second.
pub(crate) const COMPARED: [[Case; 2]; 11] = [
    [bulk().to(1).edit(Edit::NoWire), bulk().to(1)],
    [
        bulk().to(3).edit(Edit::NoWireIdentity),
        bulk().to(1).edit(Edit::NoWireIdentity),
    ],
    [
        rate(20_000, 1).over(Transport::Tcp).confirming("kernel"),
        rate(20_000, 1).over(Transport::Tcp),
    ],
    [
        bulk().over(Transport::Tcp).confirming("kernel"),
        bulk().over(Transport::Tcp),
    ],
    [
        bulk().over(Transport::Tcp).confirming("finish"),
        bulk().over(Transport::Tcp),
    ],
    [
        bulk().over(Transport::Tls).confirming("kernel"),
        bulk().over(Transport::Tls),
    ],
    [rate(20_000, 1).spooled(), rate(20_000, 1)],
    [bulk().spooled(), bulk()],
    [
        rate(20_000, 1)
            .over(Transport::Tcp)
            .confirming("kernel")
            .spooled(),
        rate(20_000, 1).over(Transport::Tcp),
    ],
    [
        bulk().over(Transport::Tcp).confirming("kernel").spooled(),
        bulk().over(Transport::Tcp),
    ],
    [
        rate(20_000, 1)
            .over(Transport::Tcp)
            .confirming("finish")
            .spooled(),
        rate(20_000, 1).over(Transport::Tcp),
    ],
];

/// The cases of a trial. Each of them tests a different part of this program.
pub(crate) const TRIAL: [Case; 9] = [
    idle(),
    rate(1_000, 1),
    rate(20_000, 1).from(100),
    rate(20_000, 32).edit(Edit::Fields),
    rate(20_000, 32).over(Transport::Tcp),
    rate(20_000, 32).over(Transport::Tls),
    bulk(),
    bulk().of(1 << 20),
    rate(20_000, 1).spooled(),
];

/// A series of cases in which one number grows, such as the number of sinks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) cases: &'static [Case],
}

/// The unit whose cost should not change within a [`Scale`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// A frame at one sink.
    Delivery,
    /// A KiB at one sink.
    Kibibyte,
}

pub(crate) const SCALE: [Scale; 7] = [
    Scale {
        title: "Senders, in bulk:",
        unit: Unit::Delivery,
        cases: &[bulk(), bulk().from(10), bulk().from(100), bulk().from(1000)],
    },
    Scale {
        title: "Senders that write 32 frames at a time:",
        unit: Unit::Delivery,
        cases: &[
            rate(100_000, 32),
            rate(100_000, 32).from(10),
            rate(100_000, 32).from(100),
            rate(100_000, 32).from(1000),
        ],
    },
    Scale {
        title: "Senders that write one frame at a time:",
        unit: Unit::Delivery,
        cases: &[
            rate(20_000, 1),
            rate(20_000, 1).from(10),
            rate(20_000, 1).from(100),
            rate(20_000, 1).from(1000),
        ],
    },
    Scale {
        title: "Sinks, in bulk:",
        unit: Unit::Delivery,
        cases: &[
            bulk().to(1),
            bulk(),
            bulk().to(4),
            bulk().to(16),
            bulk().to(64),
        ],
    },
    Scale {
        title: "Small frames, in bulk:",
        unit: Unit::Delivery,
        cases: &[bulk().of(40), bulk().of(152), bulk().of(512)],
    },
    Scale {
        title: "Large frames, in bulk:",
        unit: Unit::Kibibyte,
        cases: &[
            bulk().of(4 << 10),
            bulk().of(64 << 10),
            bulk().of(256 << 10),
            bulk().of(1 << 20),
        ],
    },
    Scale {
        title: "Queries: two frames for each, 32 frames at a time, from 10 servers:",
        unit: Unit::Delivery,
        cases: &[
            rate(20_000, 32).from(10),
            rate(200_000, 32).from(10),
            rate(2_000_000, 32).from(10),
        ],
    },
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
        edit: Edit::None,
        transport: Transport::Unix,
        size: None,
        confirm: WRITTEN,
        spool: false,
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

    const fn edit(self, edit: Edit) -> Self {
        Self { edit, ..self }
    }

    const fn over(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    const fn confirming(self, confirm: &'static str) -> Self {
        Self { confirm, ..self }
    }

    const fn spooled(self) -> Self {
        Self {
            spool: true,
            ..self
        }
    }

    const fn of(self, size: u32) -> Self {
        Self {
            size: Some(size),
            ..self
        }
    }
}

impl fmt::Display for Case {
    /// Writes the name of the case. The name mentions only the differences from the usual case,
    /// which is one sender and two `full` sinks on unix sockets.
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
        f.write_str(match self.edit {
            Edit::None => "",
            Edit::Fields => "-edited",
            Edit::NoWire => "-no-wire",
            Edit::NoWireIdentity => "-no-wire-identity",
        })?;
        if let Some(size) = self.size {
            write!(f, "-of-{size}")?;
        }
        if self.transport != Transport::Unix {
            write!(f, "-{}", self.transport.name())?;
        }
        if self.confirm != WRITTEN {
            write!(f, "-confirm-{}", self.confirm)?;
        }
        f.write_str(if self.spool { "-spool" } else { "" })
    }
}

// === impl Unit ===

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Delivery => "µs per frame and sink",
            Self::Kibibyte => "µs per KiB and sink",
        }
    }

    /// Returns the cost of the unit in microseconds.
    pub(crate) fn of(self, case: &Case, row: &Row) -> f64 {
        let delivery = row.micros / f64::from(case.sinks);
        match self {
            Self::Delivery => delivery,
            Self::Kibibyte => delivery * 1024.0 / f64::from(case.size.unwrap_or(1024)),
        }
    }
}
