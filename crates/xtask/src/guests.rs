//! Builds the guests under `guests/` into `target/guests/NAME.wasm`, and on demand the examples into
//! `target/guests/example-NAME.wasm`. It owns where artifacts lie and which toolchain builds them; how the toolchain
//! comes to be is `scripts/guest-toolchain.sh`'s matter, how an example is built is said by its `fermion.toml`.
//!
//! Artifacts are rewritten only when their bytes change, so whoever watches or caches by time is not disturbed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// What of this cargo's (or an outer one's) settings must not reach a guest's build.
const HOST_BUILD_VARIABLES: [&str; 9] = [
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MAKEFLAGS",
    "CARGO_TARGET_DIR",
    "MAKEFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

/// What `cargo xtask guests` is asked to build.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these: guests by name, examples as example-NAME
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<String>,
    /// The Rust examples too
    #[arg(long)]
    examples: bool,
    /// The JavaScript example too (needs npm)
    #[arg(long)]
    js: bool,
    /// The Python example too (needs python3)
    #[arg(long)]
    python: bool,
}

/// The language an example is written in, known by the file that is the mark of its packager.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    JavaScript,
    Python,
}

/// One folder under `examples/`.
struct Example {
    name: String,
    folder: PathBuf,
    language: Language,
}

/// Builds what `options` name and prints a line for each artifact.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = workspace_root()?;
    let out = root.join("target/guests");
    fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;

    let mut guests = guest_names(&root.join("guests"))?;
    let mut examples = examples(&root.join("examples"))?;
    for name in &options.only {
        let known = guests.contains(name) || examples.iter().any(|example| &example.artifact() == name);
        ensure!(
            known,
            "no guest `{name}`; there are {}",
            names(&guests, &examples)
        );
    }
    if options.only.is_empty() {
        examples.retain(|example| options.wants(example.language));
    } else {
        guests.retain(|name| options.only.contains(name));
        examples.retain(|example| options.only.contains(&example.artifact()));
    }

    let cargo = guest_cargo(&root)?;
    if !guests.is_empty() {
        build_guests(&root, &cargo, &guests)?;
    }
    for name in &guests {
        let built = root
            .join("target/guests-build/wasm32-wasip2/release")
            .join(format!("{}.wasm", name.replace('-', "_")));
        place(&built, &out, name)?;
    }
    for example in &examples {
        let built = build_example(example, &cargo)?;
        place(&built, &out, &example.artifact())?;
    }
    Ok(())
}

impl Options {
    fn wants(&self, language: Language) -> bool {
        match language {
            Language::Rust => self.examples,
            Language::JavaScript => self.js,
            Language::Python => self.python,
        }
    }
}

impl Example {
    fn artifact(&self) -> String {
        format!("example-{}", self.name)
    }
}

fn workspace_root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here
        .ancestors()
        .nth(2)
        .context("crates/xtask lies two folders below the workspace root")?;
    Ok(root.to_path_buf())
}

/// The folders of `guests` that make a component; the others are libraries that several guests share.
fn guest_names(guests: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, folder) in folders(guests)? {
        let manifest = folder.join("Cargo.toml");
        if manifest.is_file() && read(&manifest)?.contains("cdylib") {
            found.push(name);
        }
    }
    Ok(found)
}

fn examples(examples: &Path) -> Result<Vec<Example>> {
    let mut found = Vec::new();
    for (name, folder) in folders(examples)? {
        if !folder.join("fermion.toml").is_file() {
            continue;
        }
        let language = if folder.join("Cargo.toml").is_file() {
            Language::Rust
        } else if folder.join("package.json").is_file() {
            Language::JavaScript
        } else {
            Language::Python
        };
        found.push(Example {
            name,
            folder,
            language,
        });
    }
    Ok(found)
}

/// The folders directly under `parent`, by name.
fn folders(parent: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(parent).with_context(|| format!("listing {}", parent.display()))? {
        let entry = entry.with_context(|| format!("listing {}", parent.display()))?;
        if entry.path().is_dir() {
            found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn names(guests: &[String], examples: &[Example]) -> String {
    let all: Vec<String> = guests
        .iter()
        .cloned()
        .chain(examples.iter().map(Example::artifact))
        .collect();
    all.join(", ")
}

/// The cargo of a toolchain that has the target, made on the first use.
fn guest_cargo(root: &Path) -> Result<PathBuf> {
    let script = root.join("scripts/guest-toolchain.sh");
    let output = host_free(&script)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running {}", script.display()))?;
    ensure!(
        output.status.success(),
        "{} failed; what it says above names the reason",
        script.display()
    );
    let text =
        String::from_utf8(output.stdout).context("the toolchain script prints a path that is not UTF-8")?;
    let cargo = text
        .lines()
        .last()
        .context("the toolchain script printed no cargo")?;
    Ok(PathBuf::from(cargo))
}

/// A command that does not inherit the settings of the host's build.
fn host_free(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for variable in HOST_BUILD_VARIABLES {
        command.env_remove(variable);
    }
    command
}

fn build_guests(root: &Path, cargo: &Path, names: &[String]) -> Result<()> {
    let mut command = host_free(cargo);
    command
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target",
            "wasm32-wasip2",
        ])
        .arg("--manifest-path")
        .arg(root.join("guests/Cargo.toml"))
        .arg("--target-dir")
        .arg(root.join("target/guests-build"));
    for name in names {
        command.args(["--package", name]);
    }
    let status = command
        .status()
        .with_context(|| format!("running {}", cargo.display()))?;
    ensure!(
        status.success(),
        "building the guests failed ({status}); the compiler's words are above"
    );
    Ok(())
}

/// Runs the example's own build command and says where the component lies.
fn build_example(example: &Example, cargo: &Path) -> Result<PathBuf> {
    let manifest = example.folder.join("fermion.toml");
    let table: toml::Table = read(&manifest)?
        .parse()
        .with_context(|| format!("parsing {}", manifest.display()))?;
    let text = |section: &str, key: &str| {
        let value = table
            .get(section)
            .and_then(|section| section.get(key))
            .and_then(toml::Value::as_str);
        value
            .map(str::to_owned)
            .with_context(|| format!("{} has no {section}.{key}", manifest.display()))
    };
    let (command, component) = (text("build", "command")?, text("package", "component")?);
    let status = host_free("sh")
        .args(["-c", &command])
        .current_dir(&example.folder)
        .env("PATH", path_with(cargo)?)
        .env("CARGO_TERM_QUIET", "true")
        .stdout(Stdio::null())
        .status()
        .context("running sh")?;
    ensure!(
        status.success(),
        "`{command}` failed in {} ({status})",
        example.folder.display()
    );
    Ok(example.folder.join(component))
}

/// PATH with the guest's cargo found first.
fn path_with(cargo: &Path) -> Result<OsString> {
    let Some(bin) = cargo.parent() else {
        bail!("{} has no parent folder", cargo.display())
    };
    let outer = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(bin.to_path_buf()).chain(std::env::split_paths(&outer)))
        .context("joining PATH")
}

/// Copies a built component to `out/NAME.wasm` unless the same bytes lie there.
fn place(built: &Path, out: &Path, name: &str) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("the build left no {}", built.display()))?;
    let target = out.join(format!("{name}.wasm"));
    let same = fs::read(&target).is_ok_and(|old| old == bytes);
    if !same {
        // By a rename, so that a server or test that is reading the old one never sees half a file.
        let fresh = out.join(format!(".{name}.wasm.new"));
        fs::write(&fresh, &bytes).with_context(|| format!("writing {}", fresh.display()))?;
        fs::rename(&fresh, &target).with_context(|| format!("renaming to {}", target.display()))?;
    }
    let what = if same { "unchanged" } else { "built" };
    println!("{name:<24} {:>7} KiB  {what}", bytes.len().div_ceil(1024));
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}
