//! What the host keeps for one instance: WASI contexts, the resource table, limits, the meter. Made for each instance,
//! so whatever costs is made on first use; what belongs to one request is replaced for the next.

use std::sync::Arc;

use fermion_model::endpoint::Endpoint;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Result};
use wasmtime_wasi::clocks::{MonotonicClock, WallClock};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::egress::Egress;
use crate::engine::Running;
use crate::grants::Grants;
use crate::instances::Desk;
use crate::limits;
use crate::meter::Meter;
use crate::output::{CurrentOutput, GuestOutput, OutputSink, Stream};
use crate::wasi::clocks::Coarse;
use crate::wasi::sockets::{self, Reached};

/// The data of one store.
pub(crate) struct State {
    pub(crate) grants: Arc<Grants>,
    pub(crate) meter: Arc<Meter>,
    /// What the names that the guest was granted stand for.
    reached: Option<Reached>,
    wasi: Option<Box<WasiCtx>>,
    http: WasiHttpCtx,
    egress: Egress,
    pub(crate) table: ResourceTable,
    /// None between two requests: a request's log is whole once nobody holds it.
    output: Option<Arc<dyn GuestOutput>>,
    /// What the WASI context writes to, once there is one.
    written: Option<Arc<CurrentOutput>>,
    memory_bytes: usize,
    memory_bytes_max: usize,
    /// None while it waits for a request: the epochs need not move for it.
    running: Option<Running>,
    /// Of an instance that serves several requests at once.
    desk: Option<Arc<Desk>>,
}

impl State {
    pub(crate) fn new(
        grants: Arc<Grants>,
        meter: Arc<Meter>,
        egress: Egress,
        output: Arc<dyn GuestOutput>,
        memory_bytes_max: u64,
        running: Running,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::RESOURCES_MAX);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits::FIELDS_BYTES_MAX);
        Self {
            grants,
            meter,
            reached: None,
            wasi: None,
            http,
            egress,
            table,
            output: Some(output),
            written: None,
            memory_bytes: 0,
            memory_bytes_max: usize::try_from(memory_bytes_max).unwrap_or(usize::MAX),
            running: Some(running),
            desk: None,
        }
    }

    /// Another request takes over: from now on everything is counted, written and sent in its name.
    pub(crate) fn begin(
        &mut self,
        meter: Arc<Meter>,
        egress: Egress,
        output: Arc<dyn GuestOutput>,
        running: Running,
    ) {
        self.write_to(Some(output));
        meter.holds(self.memory_bytes());
        self.meter = meter;
        self.egress = egress;
        self.running = Some(running);
    }

    fn write_to(&mut self, output: Option<Arc<dyn GuestOutput>>) {
        if let Some(written) = &self.written {
            written.set(output.clone());
        }
        self.output = output;
    }

    /// Nothing runs until the next request: its name is let go of.
    pub(crate) fn rest(&mut self) {
        self.running = None;
        self.write_to(None);
    }

    /// From now on it serves several requests at once; `meter` is that of all of them.
    pub(crate) fn share(&mut self, desk: Arc<Desk>, meter: Arc<Meter>) {
        self.desk = Some(desk);
        self.meter = meter;
    }

    pub(crate) fn desk(&self) -> Option<&Arc<Desk>> {
        self.desk.as_ref()
    }

    /// Entries of the resource table.
    pub(crate) fn resources(&mut self) -> usize {
        self.table.iter_mut().count()
    }

    /// Linear memory, bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes as u64
    }
}

impl State {
    /// Where the guest's output goes.
    pub(crate) fn output(&self) -> &dyn GuestOutput {
        self.output.as_deref().unwrap_or(&())
    }

    /// Where sockets may lead, and what of it the guest has looked up.
    pub(crate) fn sockets(&mut self) -> (Arc<[Endpoint]>, Reached) {
        let reached = self.reached.get_or_insert_default();
        (self.grants.sockets.clone(), reached.clone())
    }
}

/// The WASI context of a grant: no environment, files, sockets or arguments beyond it.
fn wasi_context(grants: &Grants, reached: &Reached, output: &Arc<dyn GuestOutput>) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdout(OutputSink {
            output: output.clone(),
            stream: Stream::Stdout,
        })
        .stderr(OutputSink {
            output: output.clone(),
            stream: Stream::Stderr,
        })
        .max_random_size(limits::RANDOM_BYTES_MAX)
        .monotonic_clock(Coarse(MonotonicClock::new()))
        .wall_clock(Coarse(WallClock::new()))
        .envs(&grants.env);
    sockets::allow(&mut builder, &grants.sockets, reached);
    for directory in &grants.directories {
        let permissions = if directory.writable {
            FsPerms::ReadWrite
        } else {
            FsPerms::ReadOnly
        };
        if let Err(error) = builder.preopened_dir(&directory.host, &directory.guest, permissions) {
            tracing::warn!(directory = %directory.host.display(), %error, "granted directory cannot be opened");
        }
    }
    builder.build()
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| {
            let written = Arc::new(CurrentOutput::new(self.output.clone()));
            self.written = Some(written.clone());
            let written: Arc<dyn GuestOutput> = written;
            let reached = self.reached.get_or_insert_default();
            Box::new(wasi_context(&self.grants, reached, &written))
        });
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.egress,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let allowed = desired <= self.memory_bytes_max;
        if allowed {
            self.memory_bytes += desired.saturating_sub(current);
            self.meter.holds(self.memory_bytes());
        } else {
            self.meter.refuse_growth();
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let allowed = desired <= limits::TABLE_ELEMENTS_MAX;
        if !allowed {
            self.meter.refuse_growth();
        }
        Ok(allowed)
    }
}
