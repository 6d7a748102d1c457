//! A running sum over a body: how many bytes, and which (FNV-1a, 64 bits).

use std::fmt;

/// Starts empty; feed it with [`Sum::add`].
pub struct Sum {
    bytes: u64,
    state: u64,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            bytes: 0,
            state: 0xcbf2_9ce4_8422_2325,
        }
    }
}

impl Sum {
    /// Takes the next bytes in.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        for byte in bytes {
            self.state = (self.state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bytes {} fnv1a {:016x}", self.bytes, self.state)
    }
}
