//! Native code in this process: mapped, not copied, and once for all that run the same component. What nobody runs any
//! more is unmapped with its last user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use fermion_model::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::engine::Generation;
use crate::error::Error;
use crate::seal::NativeCode;

type Key = (Digest, Generation);

/// A component's code, mapped.
pub(crate) struct Native {
    component: Component,
    key: Key,
    shared: Arc<Shared>,
}

/// What is mapped at the moment, by component and engine.
#[derive(Default)]
pub(crate) struct Shared(Mutex<HashMap<Key, Weak<Native>>>);

impl Shared {
    /// Code that somebody in this process runs already.
    pub(crate) fn get(&self, digest: &Digest, generation: Generation) -> Option<Arc<Native>> {
        let mapped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mapped.get(&(*digest, generation))?.upgrade()
    }

    /// Maps checked code, unless another has done so meanwhile.
    pub(crate) fn load(
        self: &Arc<Self>,
        engine: &Engine,
        (digest, generation): Key,
        code: &NativeCode,
    ) -> Result<Arc<Native>, Error> {
        if let Some(native) = self.get(&digest, generation) {
            return Ok(native);
        }
        let component = load(engine, code).map_err(|e| Error::ComponentInvalid(format!("{e:#}")))?;
        let native = Arc::new(Native {
            component,
            key: (digest, generation),
            shared: self.clone(),
        });
        let mut mapped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mapped.insert(native.key, Arc::downgrade(&native));
        Ok(native)
    }
}

impl Native {
    pub(crate) fn component(&self) -> &Component {
        &self.component
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        let mut mapped = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may have taken its place since its last user left.
        if mapped
            .get(&self.key)
            .is_some_and(|native| native.strong_count() == 0)
        {
            mapped.remove(&self.key);
        }
    }
}

#[expect(
    unsafe_code,
    reason = "loading native code is the engine's only unsafe entry that this crate needs"
)]
fn load(engine: &Engine, code: &NativeCode) -> wasmtime::Result<Component> {
    if let Some(file) = sealed::file(code.bytes()) {
        // SAFETY: `Component::deserialize_file` demands a file that came out of this engine's own compiler unchanged,
        // and that it stays so while it is mapped. `NativeCode` can be made only from the output of the compiling
        // child of this process, or from a file whose HMAC under the node's key covers the component's digest, the
        // engine's code key and every byte; the key never leaves the node and is used only for output of that child.
        // What is mapped is a copy of those bytes in memory that has no name in any file system and was sealed by the
        // kernel against every write, truncation and growth, for every process and for good, before it was opened
        // here. Its length was compared with the code's after that.
        let mapped = unsafe { Component::deserialize_file(engine, file.path()) };
        // A system may forbid to map such files as code; the copy is the same code.
        match mapped {
            Ok(component) => return Ok(component),
            Err(error) => tracing::debug!(%error, "native code cannot be mapped; it is copied"),
        }
    }
    // SAFETY: as above; and the engine copies these bytes before it uses them.
    unsafe { Component::deserialize(engine, code.bytes()) }
}

/// Files of memory that nobody can change.
#[cfg(target_os = "linux")]
mod sealed {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::path::PathBuf;

    use rustix::fs::{MemfdFlags, SealFlags};

    pub(super) struct Sealed(File);

    impl Sealed {
        /// Leads to the file as long as this lives.
        pub(super) fn path(&self) -> PathBuf {
            format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
        }
    }

    /// None where the system has no such files, or this process may have no more descriptors: then the code is copied.
    pub(super) fn file(bytes: &[u8]) -> Option<Sealed> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(rustix::fs::memfd_create("fermion-native", flags).ok()?);
        file.write_all(bytes).ok()?;
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals).ok()?;
        let sealed = Sealed(file);
        let opened = File::open(sealed.path()).ok()?;
        let is_whole = opened
            .metadata()
            .is_ok_and(|metadata| metadata.len() == bytes.len() as u64);
        is_whole.then_some(sealed)
    }
}

#[cfg(not(target_os = "linux"))]
mod sealed {
    pub(super) enum Sealed {}

    impl Sealed {
        pub(super) fn path(&self) -> std::path::PathBuf {
            match *self {}
        }
    }

    pub(super) fn file(_bytes: &[u8]) -> Option<Sealed> {
        None
    }
}
