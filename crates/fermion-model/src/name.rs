//! Names that people write and that end up in URLs, file names and metric labels: namespaces, apps, packages.
//! Every rule that keeps them safe in all three places is here and nowhere else.

use std::fmt;
use std::str::FromStr;

/// The longest app or namespace name, in bytes: one DNS label, because both become host names.
pub const LABEL_BYTES_MAX: usize = 63;
/// The longest package name, in bytes: the repository-name limit most registries share.
pub const PACKAGE_NAME_BYTES_MAX: usize = 255;

/// A name that breaks its rule: says which name, which rule, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("NAME_INVALID: {kind} {text:?} {reason}")]
pub struct NameError {
    kind: &'static str,
    text: String,
    reason: &'static str,
}

impl NameError {
    /// Refuses `text` as a `kind`; only its beginning is repeated.
    pub(crate) fn new(kind: &'static str, text: &str, reason: &'static str) -> Self {
        Self {
            kind,
            text: text.chars().take(80).collect(),
            reason,
        }
    }
}

fn check_label(kind: &'static str, text: &str) -> Result<(), NameError> {
    let refuse = |reason| {
        Err(NameError {
            kind,
            text: text.chars().take(80).collect(),
            reason,
        })
    };
    if text.is_empty() || text.len() > LABEL_BYTES_MAX {
        return refuse("must have 1 to 63 characters");
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return refuse("may hold only lower-case letters, digits and '-'");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return refuse("may not begin or end with '-'");
    }
    Ok(())
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check_label($kind, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

label!(
    /// A deployable's name, unique in its namespace; one DNS label.
    AppName,
    "app name"
);
label!(
    /// A tenant's name; one DNS label. `default` where nobody chose one.
    Namespace,
    "namespace"
);

label!(
    /// The name of a place that apps are taken from, unique in its namespace; one DNS label.
    SourceName,
    "source name"
);

impl Default for Namespace {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

/// A package's name: one or more lower-case path segments, as in an OCI repository (`acme/checkout-tax`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackageName(String);

impl PackageName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment, which is the app's name unless somebody chose another.
    pub fn base(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for PackageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |reason| {
            Err(NameError {
                kind: "package name",
                text: text.chars().take(80).collect(),
                reason,
            })
        };
        if text.is_empty() || text.len() > PACKAGE_NAME_BYTES_MAX {
            return refuse("must have 1 to 255 characters");
        }
        for segment in text.split('/') {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            let bytes = segment.as_bytes();
            if bytes.is_empty() || !inner(bytes[0]) || !inner(bytes[bytes.len() - 1]) {
                return refuse("must be segments that begin and end with a lower-case letter or a digit");
            }
            if !bytes.iter().all(|&b| inner(b) || matches!(b, b'-' | b'_' | b'.')) || segment.contains("..") {
                return refuse("may hold only lower-case letters, digits and single '-', '_', '.'");
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for PackageName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for PackageName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A package as people cite it: `acme/hello:1.2.3`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PackageReference {
    /// The repository.
    pub name: PackageName,
    /// The semantic version.
    pub version: semver::Version,
}

impl fmt::Display for PackageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.version)
    }
}

impl FromStr for PackageReference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |reason| NameError::new("package", text, reason);
        let (name, version) = text
            .rsplit_once(':')
            .ok_or_else(|| refuse("has no version: write acme/hello:1.2.3 or acme/hello@sha256:..."))?;
        Ok(Self {
            name: name.parse()?,
            version: version
                .parse()
                .map_err(|_| refuse("must end with a version such as 1.2.3"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_a_name_and_a_version() {
        let good: PackageReference = "acme/hello:1.2.3-rc.1+build".parse().unwrap();
        assert_eq!(good.to_string(), "acme/hello:1.2.3-rc.1+build");
        for bad in [
            "",
            ":",
            "acme/hello",
            "acme/hello:",
            "acme/hello:latest",
            "acme/hello:../../x",
            "../x:1.0.0",
            "acme/hello:1.2.3:4",
        ] {
            let refused = bad.parse::<PackageReference>().unwrap_err().to_string();
            assert!(refused.starts_with("NAME_INVALID: "), "{bad}: {refused}");
        }
    }

    #[test]
    fn labels_are_dns_labels() {
        for good in ["a", "checkout-tax", "0", &"x".repeat(63)] {
            assert!(good.parse::<AppName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a/b",
            "../a",
            "a\0",
            "ä",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<AppName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn package_names_cannot_leave_their_folder() {
        assert_eq!(
            "acme/checkout-tax".parse::<PackageName>().unwrap().base(),
            "checkout-tax"
        );
        for bad in [
            "", "/a", "a/", "a//b", "../a", "a/../b", "a/..", ".a", "Acme/x", "a b", "a\\b", "a..b",
        ] {
            assert!(bad.parse::<PackageName>().is_err(), "{bad}");
        }
    }
}
