//! What the two edge guests share so that they answer alike: how a request target is taken apart, the tables of
//! headers and requests to try, the sums they report, and the hostile acts. It knows nothing of WASI.

pub mod attempts;
pub mod hostile;
mod sum;
mod target;
mod url;

pub use sum::Sum;
pub use target::Target;
pub use url::Url;

/// The body of the plainest answer.
pub const HELLO: &[u8] = b"Hello, world!\n";

/// What an error or a panic carries that no caller may ever see.
pub const SECRET: &str = "secret detail 7f3a";

/// The WIT name of a variant, from the text that derives of `Debug` print: `ErrorCode::DnsTimeout` is `dns-timeout`.
pub fn wit_name(debug: &str) -> String {
    // A payload may itself hold `::`, so only what stands before it is looked at.
    let head = debug.split(['(', ' ', '{']).next().unwrap_or(debug);
    let variant = head.rsplit_once("::").map_or(head, |(_, last)| last);
    let mut name = String::new();
    for letter in variant.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// `bytes` of filler that shows its place: the letters a to z again and again, from `offset` on.
pub fn filler(offset: usize, bytes: usize) -> Vec<u8> {
    (offset..offset + bytes)
        .map(|place| b'a' + (place % 26) as u8)
        .collect()
}
