//! Compiling in a child process with operating-system limits, so that a component made to explode the compiler costs
//! a child and a named error. The parent never parses hostile code with Cranelift.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use fermion_model::Digest;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::AsyncReadExt;

use crate::engine::{self, Engines, Generation};
use crate::error::Error;
use crate::limits;
use crate::seal::{self, NativeCode, SealKey};

/// The exit status with which the child says that the component is at fault.
const EXIT_COMPONENT_INVALID: i32 = 3;
/// Bytes of a child's complaint that are kept.
const COMPLAINT_BYTES_MAX: u64 = 8 * 1024;

/// Makes native code, or takes it from the sealed cache.
#[derive(Debug, Clone)]
pub struct Compiler {
    engines: Arc<Engines>,
    executable: PathBuf,
    cache: PathBuf,
    key: SealKey,
}

/// Code that may be loaded, and how it came about.
pub struct Compiled {
    pub(crate) code: NativeCode,
    pub(crate) generation: Generation,
    /// True if it came from the cache.
    pub cached: bool,
    /// Set if a cached file was refused: what was wrong with it.
    pub refused: Option<Error>,
}

impl Compiler {
    /// `executable` is run as `executable __compile p2|p3`; `cache` is made if it is not there.
    pub fn new(
        engines: Arc<Engines>,
        executable: PathBuf,
        cache: PathBuf,
        key: SealKey,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(&cache).map_err(|source| Error::file("create", &cache, source))?;
        Ok(Self {
            engines,
            executable,
            cache,
            key,
        })
    }

    /// Native code for a component whose bytes have this digest.
    pub async fn compile(&self, wasm: &[u8], digest: &Digest) -> Result<Compiled, Error> {
        let generation = generation(wasm)?;
        let code_key = self.engines.code_key(generation);
        let path = seal::path(&self.cache, digest, code_key);
        let refused = match seal::read(&self.key, &path, digest, code_key) {
            Ok(Some(code)) => {
                return Ok(Compiled {
                    code,
                    generation,
                    cached: true,
                    refused: None,
                });
            }
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%digest, %error, "cached native code refused, compiling again");
                Some(error)
            }
        };
        let code = self.run_child(wasm, generation).await?;
        seal::write(&self.key, &path, digest, code_key, &code)?;
        Ok(Compiled {
            code: NativeCode::fresh(code),
            generation,
            cached: false,
            refused,
        })
    }

    async fn run_child(&self, wasm: &[u8], generation: Generation) -> Result<Vec<u8>, Error> {
        let failed = |source| Error::file("run the compiler as", &self.executable, source);
        let (input, output) = exchange_files(&self.cache, wasm)?;
        let mut child = tokio::process::Command::new(&self.executable)
            .arg("__compile")
            .arg(match generation {
                Generation::P2 => "p2",
                Generation::P3 => "p3",
            })
            .env_clear()
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output.try_clone().map_err(failed)?))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stderr = child.stderr.take().expect("piped above");
        let wait = async {
            let mut complaint = String::new();
            // Whatever cannot be read of the complaint is not worth an error of its own.
            drop(
                stderr
                    .take(COMPLAINT_BYTES_MAX)
                    .read_to_string(&mut complaint)
                    .await,
            );
            (child.wait().await, complaint)
        };
        let Ok((status, complaint)) = tokio::time::timeout(limits::COMPILE_TIME_MAX, wait).await else {
            return Err(Error::CompileLimit(format!(
                "not done after {:?}",
                limits::COMPILE_TIME_MAX
            )));
        };
        let status = status.map_err(failed)?;
        if status.success() {
            return read_back(output).map_err(failed);
        }
        Err(match status.code() {
            Some(EXIT_COMPONENT_INVALID) => Error::ComponentInvalid(complaint.trim().to_owned()),
            Some(code) => Error::CompileFailed(format!("status {code}: {}", complaint.trim())),
            None => Error::CompileLimit(format!(
                "the compiler was ended by {status}; it may use {} MiB and {} s of CPU",
                limits::COMPILE_MEMORY_BYTES_MAX >> 20,
                limits::COMPILE_CPU_SECONDS_MAX
            )),
        })
    }
}

/// Two unnamed files: what the child reads and what it writes. It is given no path at all.
fn exchange_files(directory: &Path, wasm: &[u8]) -> Result<(std::fs::File, std::fs::File), Error> {
    use std::io::Seek;
    let make = || -> std::io::Result<_> {
        let mut input = tempfile::tempfile_in(directory)?;
        input.write_all(wasm)?;
        input.rewind()?;
        Ok((input, tempfile::tempfile_in(directory)?))
    };
    make().map_err(|source| Error::file("write", directory, source))
}

fn read_back(mut output: std::fs::File) -> std::io::Result<Vec<u8>> {
    use std::io::Seek;
    output.rewind()?;
    let mut code = Vec::new();
    output.take(limits::NATIVE_BYTES_MAX).read_to_end(&mut code)?;
    Ok(code)
}

/// Which engine the component needs, by the names it imports and exports.
fn generation(wasm: &[u8]) -> Result<Generation, Error> {
    use wasmparser::{Encoding, Parser, Payload};
    let invalid = |e: wasmparser::BinaryReaderError| Error::ComponentInvalid(e.to_string());
    if wasm.len() as u64 > limits::COMPONENT_BYTES_MAX {
        let (size, max) = (wasm.len(), limits::COMPONENT_BYTES_MAX);
        return Err(Error::ComponentInvalid(format!(
            "{size} bytes are more than the {max} that may be loaded"
        )));
    }
    let mut depth = 0_u32;
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(invalid)? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err(Error::ComponentInvalid(
                    "this is a core module, not a component: build it for wasm32-wasip2, or wrap it with \
                     `wasm-tools component new`"
                        .into(),
                ));
            }
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    names.push(import.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    names.push(export.map_err(invalid)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(crate::link::generation(names.iter().map(String::as_str)))
}

/// The child's whole life: takes limits upon itself, reads a component from standard input, writes native code to
/// standard output. Gives the process's exit status.
pub fn compile_child(generation: &str) -> i32 {
    let generation = if generation == "p3" {
        Generation::P3
    } else {
        Generation::P2
    };
    match limit_self().and_then(|()| compile_stdin(generation)) {
        Ok(()) => 0,
        Err(ChildError::Component(message)) => {
            complain(&message);
            EXIT_COMPONENT_INVALID
        }
        Err(ChildError::Io(error)) => {
            complain(&error.to_string());
            1
        }
    }
}

enum ChildError {
    Component(String),
    Io(std::io::Error),
}

fn complain(message: &str) {
    // The parent may be gone; there is nobody else to tell.
    drop(std::io::stderr().write_all(message.as_bytes()));
}

fn limit_self() -> Result<(), ChildError> {
    let limits = [
        (Resource::As, limits::COMPILE_MEMORY_BYTES_MAX),
        (Resource::Cpu, limits::COMPILE_CPU_SECONDS_MAX),
        (Resource::Fsize, limits::NATIVE_BYTES_MAX),
        (Resource::Core, 0),
        (Resource::Nofile, 16),
    ];
    for (resource, maximum) in limits {
        let limit = Rlimit {
            current: Some(maximum),
            maximum: Some(maximum),
        };
        setrlimit(resource, limit).map_err(|errno| ChildError::Io(errno.into()))?;
    }
    Ok(())
}

fn compile_stdin(generation: Generation) -> Result<(), ChildError> {
    let mut wasm = Vec::new();
    std::io::stdin()
        .lock()
        .take(limits::COMPONENT_BYTES_MAX)
        .read_to_end(&mut wasm)
        .map_err(ChildError::Io)?;
    let engine = engine::compiler(generation).map_err(|e| ChildError::Component(e.to_string()))?;
    let code = engine
        .precompile_component(&wasm)
        .map_err(|e| ChildError::Component(format!("{e:#}")))?;
    std::io::stdout().lock().write_all(&code).map_err(ChildError::Io)
}
