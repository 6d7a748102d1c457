//! The three kinds of telemetry that leave a node.

/// What a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// Data points.
    Metrics,
    /// Spans.
    Traces,
    /// Log records.
    Logs,
}

impl Signal {
    /// Every signal, in the order of its declaration.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Traces, Self::Logs];

    /// The lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}

/// Why something of a signal never reached the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// The queue in memory was full.
    Queue,
    /// The buffer on disk was full, and this was the oldest.
    Full,
    /// The batch is larger than any may be.
    Size,
    /// The disk took or gave it not.
    Disk,
    /// The receiver refused it for good.
    Refused,
}

impl DropReason {
    /// Every reason, in the order of its declaration.
    pub const ALL: [Self; 5] = [Self::Queue, Self::Full, Self::Size, Self::Disk, Self::Refused];

    /// The lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Full => "full",
            Self::Size => "size",
            Self::Disk => "disk",
            Self::Refused => "refused",
        }
    }
}
