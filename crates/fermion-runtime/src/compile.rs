//! Native code: taken from the sealed cache, or made by a child process that closes itself in before it reads a byte of
//! the component. A component made to explode the compiler costs a child and a named error, and the parent never gives
//! hostile code to Cranelift.

mod child;
mod generation;
mod jail;
mod probe;
mod process;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::Duration;

use fermion_model::Digest;
use tokio::sync::Semaphore;

use crate::engine::{Engines, Generation};
use crate::error::Error;
use crate::limits;
use crate::native::Native;
use crate::seal::{CacheUsage, NativeCache, NativeCode, SealKey};

pub(crate) use child::arguments;
pub use child::compile_child;
pub(crate) use generation::generation;
pub(crate) use process::{Ended, Order};

/// What one compilation may use. All of it is enforced by the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// From start to end, however little of it the machine's other work leaves to the compiler.
    pub wall: Duration,
    /// CPU time of all threads together, in seconds.
    pub cpu_seconds: u64,
    /// Address space, in bytes.
    pub memory_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            wall: limits::COMPILE_TIME_MAX,
            cpu_seconds: limits::COMPILE_CPU_SECONDS_MAX,
            memory_bytes: limits::COMPILE_MEMORY_BYTES_MAX,
        }
    }
}

/// What a [`Compiler`] is told.
#[derive(Debug, Clone)]
pub struct CompilerConfig {
    /// Run as `executable __compile p2|p3 ...`: this program itself.
    pub executable: PathBuf,
    /// Where sealed native code is kept; made if it is not there.
    pub cache: PathBuf,
    /// Bytes of native code that are kept, beyond what is pinned.
    pub cache_bytes_max: u64,
    /// What one compilation may use.
    pub limits: CompileLimits,
}

impl CompilerConfig {
    /// The defaults for a program and a cache directory.
    pub fn new(executable: PathBuf, cache: PathBuf) -> Self {
        Self {
            executable,
            cache,
            cache_bytes_max: limits::NATIVE_CACHE_BYTES_MAX,
            limits: CompileLimits::default(),
        }
    }
}

/// Makes native code, or takes it from the sealed cache. Clones share both.
#[derive(Debug, Clone)]
pub struct Compiler {
    engines: Arc<Engines>,
    config: Arc<CompilerConfig>,
    cache: Arc<NativeCache>,
    children: Arc<Semaphore>,
    /// What the kernel does not offer for the jail is said once.
    announced: Arc<Once>,
}

/// Code that may be loaded, and how it came about.
pub struct Compiled {
    pub(crate) code: Code,
    /// The component's digest.
    pub(crate) digest: Digest,
    /// Which engine runs it.
    pub generation: Generation,
    /// True if it came from the cache.
    pub cached: bool,
    /// Set if a cached file was refused: what was wrong with it.
    pub refused: Option<Error>,
}

/// Where the code is.
pub(crate) enum Code {
    /// Mapped already, for somebody else.
    Mapped(Arc<Native>),
    /// In memory, as its file or the compiler gave it.
    Read(NativeCode),
}

impl Compiler {
    /// Opens the cache. `key` seals what is put there.
    pub fn new(engines: Arc<Engines>, config: CompilerConfig, key: SealKey) -> Result<Self, Error> {
        let cache = NativeCache::open(&config.cache, key, config.cache_bytes_max)?;
        Ok(Self {
            engines,
            config: Arc::new(config),
            cache: Arc::new(cache),
            children: Arc::new(Semaphore::new(limits::COMPILATIONS_MAX)),
            announced: Arc::new(Once::new()),
        })
    }

    /// Keeps the native code of these components, whatever the quota says: what runs, and what it would fall back to.
    /// Takes the place of what was pinned before.
    pub fn pin(&self, components: HashSet<Digest>) {
        self.cache.pin(components);
    }

    /// What the cache holds.
    pub fn usage(&self) -> CacheUsage {
        self.cache.usage()
    }

    /// Native code for a component whose bytes have this digest.
    ///
    /// # Errors
    /// `COMPONENT_INVALID`, `COMPILE_LIMIT`, `COMPILE_FAILED`. A cache that cannot be read or written is no error: it
    /// is logged, and the code is made anew.
    pub async fn compile(&self, wasm: Vec<u8>, digest: &Digest) -> Result<Compiled, Error> {
        let generation = generation::generation(&wasm)?;
        let refused = match self.cached(digest, generation).await {
            Ok(Some(compiled)) => return Ok(compiled),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%digest, code = error.code(), %error, "cached native code refused, compiling again");
                Some(error)
            }
        };
        let code = self.run_child(wasm, generation).await?;
        let (cache, code_key, digest) = (self.cache.clone(), self.engines.code_key(generation), *digest);
        let code = blocking(move || {
            if let Err(error) = cache.put(&digest, code_key, &code) {
                tracing::warn!(%digest, %error, "native code is not kept: it is compiled again at the next start");
            }
            code
        })
        .await?;
        Ok(Compiled {
            code: Code::Read(NativeCode::fresh(code)),
            digest,
            generation,
            cached: false,
            refused,
        })
    }

    /// Native code that needs no compiling: mapped in this process already, or sealed in the cache. None if there is
    /// none.
    ///
    /// # Errors
    /// `SEAL_INVALID` for a file that was refused and moved aside; the next call finds none.
    pub async fn cached(&self, digest: &Digest, generation: Generation) -> Result<Option<Compiled>, Error> {
        let (code_key, digest) = (self.engines.code_key(generation), *digest);
        let code = match self.engines.native().get(&digest, generation) {
            Some(native) => Some(Code::Mapped(native)),
            None => {
                let cache = self.cache.clone();
                blocking(move || cache.get(&digest, code_key))
                    .await??
                    .map(Code::Read)
            }
        };
        Ok(code.map(|code| Compiled {
            code,
            digest,
            generation,
            cached: true,
            refused: None,
        }))
    }

    /// Makes sure that native code lies in the cache, without loading it: compiles if there is none. Gives what is
    /// needed to ask for it later, and whether it was there. Whether its seal is right is found when it is loaded.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub async fn provide(&self, wasm: Vec<u8>, digest: &Digest) -> Result<(Generation, bool), Error> {
        let generation = generation::generation(&wasm)?;
        let (cache, code_key, component) = (self.cache.clone(), self.engines.code_key(generation), *digest);
        if blocking(move || cache.has(&component, code_key)).await? {
            return Ok((generation, true));
        }
        let compiled = self.compile(wasm, digest).await?;
        Ok((generation, compiled.cached))
    }

    /// When native code of a component was used last, on any engine; none if there is none. Blocks.
    pub fn last_used(&self, digest: &Digest) -> Option<std::time::SystemTime> {
        let generations = [Generation::P2, Generation::P3];
        let used =
            generations.map(|generation| self.cache.last_used(digest, self.engines.code_key(generation)));
        used.into_iter().flatten().max()
    }

    async fn run_child(&self, wasm: Vec<u8>, generation: Generation) -> Result<Vec<u8>, Error> {
        // Closed never: it lives as long as the compiler.
        let _turn = self.children.acquire().await.ok();
        let allowed = self.config.limits;
        let what = match generation {
            Generation::P2 => "p2",
            Generation::P3 => "p3",
        };
        let order = Order {
            executable: &self.config.executable,
            directory: &self.config.cache,
            arguments: arguments(what, allowed).into(),
            wall: allowed.wall,
        };
        Err(match order.run(wasm).await? {
            Ended::Done { output, said } => {
                self.announce(&said);
                return Ok(output);
            }
            Ended::Refused { complaint } => Error::ComponentInvalid(complaint),
            Ended::Limit { complaint } => Error::CompileLimit(complaint),
            Ended::Failed { code, complaint } => Error::CompileFailed(format!("status {code}: {complaint}")),
            Ended::TooLong => Error::CompileLimit(format!("not done after {:?}", allowed.wall)),
            Ended::Killed { status } => Error::CompileLimit(format!(
                "the compiler was ended by {status}; it may use {} MiB and {} s of CPU",
                allowed.memory_bytes >> 20,
                allowed.cpu_seconds
            )),
        })
    }

    /// A child that did its work has nothing to say but what its jail lacks.
    fn announce(&self, lacking: &str) {
        if !lacking.is_empty() {
            self.announced.call_once(|| {
                tracing::warn!(
                    lacking,
                    "this system does not offer all of the compiler's jail; the rest is in force"
                );
            });
        }
    }
}

/// File work and hashing leave the reactor.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|ended| Error::CompileFailed(format!("the work on files was stopped: {ended}")))
}
