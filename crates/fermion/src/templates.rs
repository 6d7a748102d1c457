//! The files that `fermion new` writes, as they lie in `templates/`.

/// Path in the new project and text.
pub(crate) type Files = &'static [(&'static str, &'static str)];

/// Rust, WASI 0.2.
pub(crate) const RUST: Files = &[
    ("Cargo.toml", include_str!("../templates/rust/Cargo.toml.tmpl")),
    ("src/lib.rs", include_str!("../templates/rust/src/lib.rs")),
    ("fermion.toml", include_str!("../templates/rust/fermion.toml")),
    (".gitignore", include_str!("../templates/rust/gitignore.tmpl")),
    ("README.md", include_str!("../templates/rust/README.md")),
];

/// JavaScript on StarlingMonkey.
pub(crate) const JS: Files = &[
    ("package.json", include_str!("../templates/js/package.json")),
    ("build.sh", include_str!("../templates/js/build.sh")),
    ("build.mjs", include_str!("../templates/js/build.mjs")),
    ("src/app.js", include_str!("../templates/js/src/app.js")),
    ("fermion.toml", include_str!("../templates/js/fermion.toml")),
    (".gitignore", include_str!("../templates/js/gitignore.tmpl")),
    (".npmrc", include_str!("../templates/js/npmrc.tmpl")),
    ("README.md", include_str!("../templates/js/README.md")),
];

/// Python on CPython.
pub(crate) const PYTHON: Files = &[
    (
        "requirements.txt",
        include_str!("../templates/python/requirements.txt"),
    ),
    ("build.sh", include_str!("../templates/python/build.sh")),
    ("src/app.py", include_str!("../templates/python/src/app.py")),
    ("wit/world.wit", include_str!("../templates/python/wit/world.wit")),
    ("fermion.toml", include_str!("../templates/python/fermion.toml")),
    (".gitignore", include_str!("../templates/python/gitignore.tmpl")),
    ("README.md", include_str!("../templates/python/README.md")),
];
