//! The admin token: one secret in one file, made on the first start. It is kept as a hash, compared in constant time,
//! and never printed.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::Error;

/// Random bytes of a token: out of reach of guessing.
const TOKEN_BYTES: usize = 32;
/// The file holds the bytes as hex digits and perhaps a line feed.
const FILE_BYTES_MAX: u64 = TOKEN_BYTES as u64 * 2 + 2;

/// What a bearer token is checked against.
#[derive(Clone)]
pub struct AdminToken {
    hash: [u8; 32],
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

impl AdminToken {
    /// Reads the token file, or makes it with mode 0600 from `random`. Refuses a file that others may read or write,
    /// that is no regular file, or that holds something else.
    pub fn load_or_create(
        path: &Path,
        random: impl FnOnce(&mut [u8]) -> std::io::Result<()>,
    ) -> Result<Self, Error> {
        match path.symlink_metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(path, random)?,
            Err(source) => return Err(file_error("look at", path)(source)),
        }
        Ok(Self {
            hash: Sha256::digest(read(path)?.as_bytes()).into(),
        })
    }

    /// The token's text, for a client on the same machine; the same refusals.
    pub fn read(path: &Path) -> Result<String, Error> {
        read(path)
    }

    /// Whether `given` is the token. Takes the same time whatever differs.
    pub fn matches(&self, given: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        self.hash.ct_eq(&given).into()
    }
}

fn file_error(doing: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::TokenFile {
        doing,
        path: path.clone(),
        source,
    }
}

fn read(path: &Path) -> Result<String, Error> {
    let unfit = |what| Error::TokenUnfit {
        path: path.to_owned(),
        what,
    };
    let link = path.symlink_metadata().map_err(file_error("look at", path))?;
    if !link.is_file() {
        return Err(unfit(
            "is not a regular file; remove it, and the next start makes a new one",
        ));
    }
    let file = File::open(path).map_err(file_error("read", path))?;
    let mode = file
        .metadata()
        .map_err(file_error("look at", path))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(unfit(
            "may be read or written by others; remove it, and the next start makes a new one, or run chmod 600 on it \
             if nobody can have read it",
        ));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(file_error("read", path))?;
    let token = text.trim_end();
    if token.len() != TOKEN_BYTES * 2 || !token.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(unfit(
            "does not hold a token; remove it, and the next start makes a new one",
        ));
    }
    Ok(token.to_owned())
}

/// Written beside its place and renamed there, so that a crash leaves no half token.
fn create(path: &Path, random: impl FnOnce(&mut [u8]) -> std::io::Result<()>) -> Result<(), Error> {
    let failed = file_error("make", path);
    let mut bytes = [0; TOKEN_BYTES];
    random(&mut bytes).map_err(&failed)?;
    let unfinished = path.with_extension("token.new");
    match std::fs::remove_file(&unfinished) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(hex::encode(bytes).as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    };
    write().map_err(&failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(bytes: &mut [u8]) -> std::io::Result<()> {
        bytes.fill(0xab);
        Ok(())
    }

    #[test]
    fn is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.token");
        let token = AdminToken::load_or_create(&path, fixed).unwrap();
        let text = AdminToken::read(&path).unwrap();
        assert_eq!(text, "ab".repeat(32));
        assert!(token.matches(&text));
        for wrong in ["", "ab", &text[..63], &format!("{text}a"), &text.to_uppercase()] {
            assert!(!token.matches(wrong), "{wrong}");
        }
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let again = AdminToken::load_or_create(&path, |_| panic!("the file is there")).unwrap();
        assert!(again.matches(&text));
        assert!(!format!("{token:?}").contains("ab"));
    }

    #[test]
    fn unfit_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.token");
        let refused = || AdminToken::load_or_create(&path, fixed).unwrap_err();
        for content in ["", "short", &"zz".repeat(32), &"ab".repeat(40)] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(refused(), Error::TokenUnfit { .. }), "{content}");
        }
        std::fs::write(&path, "ab".repeat(32)).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o666, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(refused().to_string().contains("others"), "{mode:o}");
        }
        std::fs::remove_file(&path).unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "ab".repeat(32)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(refused().to_string().contains("regular"));
    }
}
