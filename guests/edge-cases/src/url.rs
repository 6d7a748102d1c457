//! As much of a URL as a guest needs to call an upstream. No crate for it: its tables would outweigh the guest.

/// `scheme://authority/path?query`.
pub struct Url {
    /// What stands before `://`.
    pub scheme: String,
    /// Host and port.
    pub authority: String,
    /// Path and query, at least `/`.
    pub path: String,
}

impl Url {
    /// `None` without a scheme or an authority.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        if authority.is_empty() {
            return None;
        }
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        Some(Self {
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
            path,
        })
    }
}
