//! Reads globals and memories of an initialised instance for Wizer, through the functions that it has added to the
//! component for that.

use wasmtime::Store;
use wasmtime::component::{Instance, Lift, WasmList};
use wasmtime_wizer::ComponentInstanceState;

use super::initialise::Host;

/// An instance to be read. What goes wrong is kept for [`Reader::finish`]: the trait has no place for it.
pub(super) struct Reader<'a> {
    store: &'a mut Store<Host>,
    instance: Instance,
    failed: Option<wasmtime::Error>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(store: &'a mut Store<Host>, instance: Instance) -> Self {
        Self {
            store,
            instance,
            failed: None,
        }
    }

    /// The first thing that went wrong: then what was read is not to be used.
    pub(super) fn finish(self) -> wasmtime::Result<()> {
        self.failed.map_or(Ok(()), Err)
    }

    async fn call<R: Lift + Send + Sync + 'static>(&mut self, instance: &str, function: &str) -> Option<R> {
        let called = async {
            let missing = || wasmtime::Error::msg("it cannot be read");
            let (_, instance) = self
                .instance
                .get_export(&mut *self.store, None, instance)
                .ok_or_else(missing)?;
            let (_, function) = self
                .instance
                .get_export(&mut *self.store, Some(&instance), function)
                .ok_or_else(missing)?;
            let function = self
                .instance
                .get_typed_func::<(), (R,)>(&mut *self.store, function)?;
            function.call_async(&mut *self.store, ()).await
        };
        match called.await {
            Ok((value,)) => Some(value),
            Err(error) => {
                let error = error.context("reading what initialisation left");
                self.failed.get_or_insert(error);
                None
            }
        }
    }
}

impl ComponentInstanceState for Reader<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        match self.call::<WasmList<u8>>(instance, func).await {
            Some(list) => contents(list.as_le_slice(&*self.store)),
            None => contents(&[]),
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.call(instance, func).await.unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.call(instance, func).await.unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.call(instance, func).await.map_or(0, f32::to_bits)
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.call(instance, func).await.map_or(0, f64::to_bits)
    }
}
