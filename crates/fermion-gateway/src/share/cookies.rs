//! The cookie by which a caller is known again: a random key and a signature, so that nobody can make keys until one
//! is in the share. It says nothing about the caller, and the guest does not see it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{COOKIE, HeaderMap, HeaderValue};
use sha2::Sha256;

use super::length;
use crate::limits::{SHARE_COOKIE_SECONDS, SHARE_COOKIES_CHECKED_MAX};
use crate::trace::{read_hex, write_hex};

/// Bytes of a key.
const KEY_BYTES: usize = 16;
/// Bytes that are left of the signature: more than anybody guesses online.
const MAC_BYTES: usize = 16;
/// Two hexadecimal numbers and a dot between them.
const VALUE_BYTES: usize = 2 * KEY_BYTES + 1 + 2 * MAC_BYTES;

/// Every cookie's name and value, as they were sent. HTTP/2 may bring each in a field of its own.
pub(super) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let fields = headers.get_all(COOKIE).iter();
    fields
        .flat_map(|field| field.as_bytes().split(|&b| b == b';'))
        .map(pair)
}

fn pair(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&b| b == b'=');
    let (name, value) = match end {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[][..]),
    };
    (name.trim_ascii(), value.trim_ascii())
}

/// Issues, checks and hides the cookies of one rollout of one app.
pub(super) struct Signer {
    /// Differs between the apps of one host. Names have no underscore, so no two apps share one.
    name: String,
    /// Has the key, and has taken in whose cookies these are.
    mac: Hmac<Sha256>,
}

impl Signer {
    /// `salt` is that of the rollout: the next rollout takes no cookie of this one.
    pub(super) fn new(namespace: &str, app: &str, salt: &[u8; 16]) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(salt).expect("HMAC takes a key of any length");
        for part in [namespace, app] {
            mac.update(&length(part.as_bytes()));
            mac.update(part.as_bytes());
        }
        Self {
            name: format!("fermion_{namespace}_{app}"),
            mac,
        }
    }

    /// The key of a caller who sends a cookie that was issued here. Any other is none.
    pub(super) fn key(&self, headers: &HeaderMap) -> Option<[u8; KEY_BYTES]> {
        let own = pairs(headers).filter(|(name, _)| *name == self.name.as_bytes());
        own.take(SHARE_COOKIES_CHECKED_MAX)
            .find_map(|(_, value)| self.check(value))
    }

    fn check(&self, value: &[u8]) -> Option<[u8; KEY_BYTES]> {
        if value.len() != VALUE_BYTES || value[2 * KEY_BYTES] != b'.' {
            return None;
        }
        let key = read_hex::<KEY_BYTES>(&value[..2 * KEY_BYTES])?;
        let mac = read_hex::<MAC_BYTES>(&value[2 * KEY_BYTES + 1..])?;
        // In constant time.
        let holds = self.signed(&key).verify_truncated_left(&mac).is_ok();
        holds.then_some(key)
    }

    fn signed(&self, key: &[u8; KEY_BYTES]) -> Hmac<Sha256> {
        self.mac.clone().chain_update(key)
    }

    /// The answer's field that gives a caller this key. Not `Secure`: there is no listener with TLS, and a browser that
    /// came without would not send it back.
    pub(super) fn issue(&self, key: &[u8; KEY_BYTES]) -> HeaderValue {
        let mut value = [b'.'; VALUE_BYTES];
        write_hex(key, &mut value[..2 * KEY_BYTES]);
        let mac = self.signed(key).finalize().into_bytes();
        write_hex(&mac[..MAC_BYTES], &mut value[2 * KEY_BYTES + 1..]);
        let mut field = Vec::with_capacity(self.name.len() + VALUE_BYTES + 64);
        field.extend(self.name.as_bytes());
        field.push(b'=');
        field.extend(value);
        field.extend(b"; Path=/; HttpOnly; SameSite=Lax; Max-Age=");
        field.extend(SHARE_COOKIE_SECONDS.to_string().into_bytes());
        HeaderValue::from_bytes(&field).expect("a name, hex digits and attributes make a header value")
    }

    /// Takes cookies of our name off a request, and leaves every other byte.
    pub(super) fn hide(&self, headers: &mut HeaderMap) {
        if !pairs(headers).any(|(name, _)| name == self.name.as_bytes()) {
            return;
        }
        let others = headers.get_all(COOKIE).iter();
        let others: Vec<_> = others.filter_map(|field| self.others(field)).collect();
        headers.remove(COOKIE);
        for field in others {
            headers.append(COOKIE, field);
        }
    }

    /// What a field has beside ours; nothing if that is all.
    fn others(&self, field: &HeaderValue) -> Option<HeaderValue> {
        let all = field.as_bytes().split(|&b| b == b';');
        let kept: Vec<_> = all.filter(|text| pair(text).0 != self.name.as_bytes()).collect();
        let joined = kept.join(&b';');
        let mut value = HeaderValue::from_bytes(joined.trim_ascii()).ok()?;
        value.set_sensitive(field.is_sensitive());
        (!value.is_empty()).then_some(value)
    }
}
