//! Which country an address is in, by a file in MaxMind's format that the operator gives. Read once and kept in memory.

use std::net::IpAddr;
use std::path::Path;

use maxminddb::{PathElement, Reader};

use crate::Error;
use crate::limits::COUNTRIES_BYTES_MAX;

/// The table of countries.
pub struct Countries {
    reader: Reader<Vec<u8>>,
}

impl std::fmt::Debug for Countries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Countries")
            .field("kind", &self.reader.metadata.database_type)
            .finish_non_exhaustive()
    }
}

impl Countries {
    /// Reads a file whole and checks all of it. Blocks.
    ///
    /// # Errors
    /// [`Error::Countries`] if it cannot be read, is too large or damaged, or is in another format.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Countries {
            path: path.to_owned(),
            reason,
        };
        let bytes = std::fs::metadata(path)
            .map_err(|error| refuse(error.to_string()))?
            .len();
        if bytes > COUNTRIES_BYTES_MAX {
            let reason = format!(
                "it has {bytes} bytes, at most {COUNTRIES_BYTES_MAX} are read; take one of countries"
            );
            return Err(refuse(reason));
        }
        let read = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
        let reader = Reader::from_source(read).map_err(|error| refuse(error.to_string()))?;
        reader.verify().map_err(|error| refuse(error.to_string()))?;
        Ok(Self { reader })
    }

    /// Whether an address is in one of these countries, two capital letters each. What the file does not know is nowhere.
    pub(crate) fn is_in(&self, address: IpAddr, countries: &[String]) -> bool {
        let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
        let found = self.reader.lookup(address.to_canonical());
        let code = found.and_then(|found| found.decode_path::<&str>(&path));
        matches!(code, Ok(Some(code)) if countries.iter().any(|country| country == code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name)
    }

    #[test]
    fn addresses_are_looked_up_in_either_form() {
        let countries = Countries::open(&file("countries.mmdb")).unwrap();
        for (address, country, is_in) in [
            ("127.0.0.1", "DE", true),
            ("::ffff:127.0.0.1", "DE", true),
            ("127.0.0.1", "FR", false),
            ("127.0.0.2", "FR", true),
            ("10.1.2.3", "US", true),
            ("192.0.2.1", "US", false),
            ("2001:db8::1", "US", false),
        ] {
            let countries = countries.is_in(address.parse().unwrap(), &["XX".to_owned(), country.to_owned()]);
            assert_eq!(countries, is_in, "{address} {country}");
        }
    }

    #[test]
    fn what_is_no_such_file_is_refused_with_its_name() {
        for name in ["main.rs", "nowhere.mmdb"] {
            let words = Countries::open(&file(name)).unwrap_err().to_string();
            assert!(words.contains(name), "{words}");
        }
    }
}
