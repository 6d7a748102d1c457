//! What is in bytes under one more layer: base64 in either alphabet, and ASCII as UTF-16LE. One layer only, and each
//! piece with the way back to where it came from.

/// Characters from which on a run of base64 is looked into: the shortest token has 20 bytes.
const BASE64_RUN_MIN: usize = 27;
/// Characters from which on a run of UTF-16 is looked into.
const UTF16_RUN_MIN: usize = 16;

/// Decoded bytes.
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    /// Where the run begins.
    start: usize,
    /// How many bytes of the run make how many decoded ones.
    ratio: (usize, usize),
}

impl Decoded {
    /// The place of a decoded byte in what was decoded.
    pub(super) fn origin(&self, at: usize) -> usize {
        self.start + at * self.ratio.0 / self.ratio.1
    }
}

/// What is not in either alphabet.
const NONE: u8 = 0xff;

/// Six bits for each letter of the standard and of the URL-safe alphabet.
static SEXTETS: [u8; 256] = sextets();

const fn sextets() -> [u8; 256] {
    let mut table = [NONE; 256];
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < 64 {
        #[expect(clippy::cast_possible_truncation, reason = "less than 64")]
        let bits = value as u8;
        table[letters[value] as usize] = bits;
        value += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
}

/// Every long run of base64, read from each of the four places a group of four may begin at: a literal before it may
/// have run into it.
pub(super) fn base64(bytes: &[u8]) -> impl Iterator<Item = Decoded> {
    runs(bytes).flat_map(move |run| {
        (0..4).map(move |shift| {
            let start = run.start + shift;
            let mut decoded = Vec::with_capacity(run.len() / 4 * 3);
            let (mut bits, mut held) = (0_u32, 0_u32);
            for &byte in &bytes[start..run.end] {
                bits = bits << 6 | u32::from(SEXTETS[usize::from(byte)]);
                held += 6;
                if held >= 8 {
                    held -= 8;
                    let [.., low] = (bits >> held).to_be_bytes();
                    decoded.push(low);
                }
            }
            Decoded {
                bytes: decoded,
                start,
                ratio: (4, 3),
            }
        })
    })
}

/// Every long run of printable ASCII with a zero after each.
pub(super) fn utf16(bytes: &[u8]) -> impl Iterator<Item = Decoded> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at + 1 < bytes.len() {
            let start = at;
            while let [low, 0, ..] = bytes[at..]
                && (matches!(low, b' '..=b'~') || matches!(low, b'\n' | b'\r' | b'\t'))
            {
                at += 2;
            }
            if at - start >= 2 * UTF16_RUN_MIN {
                return Some(Decoded {
                    bytes: bytes[start..at].iter().step_by(2).copied().collect(),
                    start,
                    ratio: (2, 1),
                });
            }
            // A run of odd beginning is found from its next byte.
            at = at.max(start + 1);
        }
        None
    })
}

/// The long runs of letters.
fn runs(bytes: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            while at < bytes.len() && SEXTETS[usize::from(bytes[at])] != NONE {
                at += 1;
            }
            if at - start >= BASE64_RUN_MIN {
                return Some(start..at);
            }
            at += 1;
        }
        None
    })
}
