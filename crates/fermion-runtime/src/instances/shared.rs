//! One instance of WASI 0.3 that serves several requests at once. Nobody owns a task for it: whichever of its requests
//! is polled drives it, on its connection's own task, and all of them are on one serving thread. The engine cannot
//! interrupt one guest in favour of another of the same instance; so a request that has not begun when the instance is
//! held up goes to another one.

use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use fermion_model::fault::{Failure, Fault};
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Accessor, AccessorTask, Resource, TypedFunc, TypedFuncCallConcurrent};
use wasmtime::{AsContextMut as _, Store};
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::p3::bindings::http::types::{ErrorCode, Request, Response};
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

use super::desk::{Begin, Desk, Order};
use super::instance::{Bound, Instance};
use crate::classify::classify;
use crate::invoke::with_authority;
use crate::limits;
use crate::meter::Meter;
use crate::program::Core;
use crate::state::State;

type Driver = Pin<Box<dyn Future<Output = wasmtime::Result<()>> + Send>>;
type Parameters = (Resource<Request>,);
type Results = (Result<Resource<Response>, ErrorCode>,);

/// How often one request's turn goes through an instance before the thread does something else.
const LOOKS_MAX: u32 = 2;

/// An instance with the requests that are in it.
pub(crate) struct Shared {
    desk: Arc<Desk>,
    /// None once it has ended.
    driver: Mutex<Option<Driver>>,
    occupancy: Mutex<Occupancy>,
    entry: Mutex<Option<super::ledger::Entry>>,
    /// For the whole instance: what a guest was refused.
    meter: Arc<Meter>,
}

#[derive(Default)]
struct Occupancy {
    seats: u32,
    served: u32,
    /// The pool's time when the last one left.
    since: u32,
    is_retiring: bool,
    failure: Option<Failure>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Opens an instance for several. One that found no room in the books serves only who is in it.
    pub(super) fn open(mut instance: Instance, core: &Arc<Core>) -> Option<Arc<Self>> {
        let may_stay = core.pool.enter(&mut instance);
        let Instance {
            mut store,
            bound,
            served,
            entry,
            ..
        } = instance;
        let Bound::P3(service) = bound else { return None };
        let (desk, meter) = (Arc::new(Desk::default()), Arc::new(Meter::default()));
        let state = store.data_mut();
        state.share(desk.clone(), meter.clone());
        desk.memory_bytes.store(state.memory_bytes(), Relaxed);
        let driver = Box::pin(drive(store, service, desk.clone(), Arc::downgrade(core)));
        Some(Arc::new(Self {
            desk,
            driver: Mutex::new(Some(driver)),
            occupancy: Mutex::new(Occupancy {
                served,
                is_retiring: !may_stay,
                ..Occupancy::default()
            }),
            entry: Mutex::new(entry),
            meter,
        }))
    }

    /// A place in it, if it takes another request now.
    pub(super) fn sit(self: &Arc<Self>, core: &Arc<Core>, is_first: bool) -> Option<Place> {
        let policy = core.pool.policy();
        let mut occupancy = lock(&self.occupancy);
        let has_room = occupancy.seats < policy.reuse_concurrency && occupancy.served < policy.reuse_requests;
        let is_free = !occupancy.is_retiring && !self.desk.is_stuck();
        if !(is_first || has_room && is_free) {
            return None;
        }
        occupancy.seats += 1;
        occupancy.served += 1;
        let seat = u64::from(occupancy.served);
        Some(Place {
            shared: self.clone(),
            core: core.clone(),
            seat,
            is_done: false,
        })
    }

    /// Nobody will sit down here any more.
    pub(super) fn is_over(&self, requests_max: u32) -> bool {
        let occupancy = lock(&self.occupancy);
        occupancy.is_retiring || occupancy.served >= requests_max
    }

    /// Empty since before `since`.
    pub(super) fn is_idle(&self, since: u32) -> bool {
        let occupancy = lock(&self.occupancy);
        occupancy.seats == 0 && occupancy.since <= since
    }

    /// Lets the guests go on, if one of them can. What becomes possible meanwhile is looked at once more here, and
    /// then when the thread has done what else there is.
    fn look(&self, order: &Order, is_asked: bool) {
        if !is_asked && !self.desk.is_rung() {
            return;
        }
        let mut driver = lock(&self.driver);
        let Some(future) = driver.as_mut() else { return };
        let waker = Waker::from(self.desk.clone());
        for _ in 0..LOOKS_MAX {
            self.desk.enter(order);
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            self.desk.exit();
            if let Poll::Ready(ended) = polled {
                *driver = None;
                drop(driver);
                return self.end(ended);
            }
            if !self.desk.is_rung() {
                return;
            }
            if self.desk.is_stuck() {
                break;
            }
        }
        drop(driver);
        self.desk.pass_on();
    }

    fn end(&self, ended: wasmtime::Result<()>) {
        let failure = match ended {
            Ok(()) => Failure::from(Fault::GuestNoResponse),
            Err(error) => classify(&error, &self.meter),
        };
        let mut occupancy = lock(&self.occupancy);
        occupancy.is_retiring = true;
        occupancy.failure = Some(failure);
        drop(occupancy);
        self.desk.notify_all();
    }

    /// How the instance ended, as this request should hear it.
    fn failure(&self, meter: &Arc<Meter>) -> Option<Failure> {
        let failure = lock(&self.occupancy).failure.clone()?;
        if failure.fault == Fault::GuestCpuLimit && !self.desk.is_offender(meter) {
            let detail = "another request in the same instance used up its CPU time";
            return Some(Failure::new(Fault::GuestTrap, detail));
        }
        Some(failure)
    }
}

/// The right to be in an instance.
pub(crate) struct Place {
    shared: Arc<Shared>,
    core: Arc<Core>,
    seat: u64,
    is_done: bool,
}

/// One request in an instance of several. Dropped before it is done, it takes the instance out of service.
pub(crate) struct Seat {
    place: Place,
    order: Arc<Order>,
    meter: Arc<Meter>,
}

/// What has become of a request that has not been answered yet.
pub(crate) enum Head {
    Answer(Result<http::Response<WasiBody>, String>),
    /// The instance is held up, and this request has not begun.
    Moved(Begin),
    Failed(Failure),
}

impl Place {
    pub(crate) fn order(self, begin: Begin, ended: CancellationToken) -> Seat {
        let meter = begin.turn.meter.clone();
        let order = Order::new(begin, self.seat, ended);
        self.shared.desk.order(order.clone());
        Seat {
            place: self,
            order,
            meter,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.order.take_begin().is_some() {
            self.place.is_done = true;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let shared = &self.shared;
        let mut occupancy = lock(&shared.occupancy);
        occupancy.seats -= 1;
        occupancy.since = self.core.pool.now();
        occupancy.is_retiring |= !self.is_done || shared.desk.is_worn.load(Relaxed);
        let is_empty = occupancy.seats == 0;
        let is_over = occupancy.is_retiring || occupancy.served >= self.core.pool.policy().reuse_requests;
        drop(occupancy);
        shared.desk.leave(self.seat);
        if is_empty && is_over {
            if let Some(driver) = lock(&shared.driver).take() {
                self.core.engines.keeper().bury(driver);
            }
            lock(&shared.entry).take();
        }
        self.core.engines.keeper().list(&self.core);
    }
}

impl Seat {
    /// Until the answer's head is known.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>, is_asked: bool) -> Poll<Head> {
        let shared = self.place.shared.clone();
        shared.desk.listen(self.place.seat, cx.waker(), true);
        shared.look(&self.order, is_asked);
        if let Some(answer) = self.order.take_answer() {
            shared.desk.listen(self.place.seat, cx.waker(), false);
            shared.desk.pass_on();
            return Poll::Ready(Head::Answer(answer));
        }
        if let Some(failure) = shared.failure(&self.meter) {
            return Poll::Ready(match self.order.take_begin() {
                Some(begin) => self.moved(begin),
                None => Head::Failed(failure),
            });
        }
        if shared.desk.is_stuck()
            && let Some(begin) = self.order.take_begin()
        {
            return Poll::Ready(self.moved(begin));
        }
        Poll::Pending
    }

    /// The guest answered with an error: nothing is sent, and it is done.
    pub(crate) fn give_up(mut self, ended: &CancellationToken) {
        ended.cancel();
        self.place.shared.desk.ended(&self.meter);
        self.place.is_done = true;
    }

    /// It was never in the instance, which may go on without it.
    fn moved(&mut self, begin: Begin) -> Head {
        self.place.is_done = true;
        Head::Moved(begin)
    }

    /// After its head: ready when the answer is out and no guest has anything left to do, or only for others.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let shared = self.place.shared.clone();
        let desk = &shared.desk;
        desk.listen(self.place.seat, cx.waker(), false);
        let is_out = self.order.ended.is_cancelled();
        if is_out {
            desk.wants_look.store(true, Relaxed);
        }
        shared.look(&self.order, is_out);
        if let Some(failure) = shared.failure(&self.meter) {
            return Poll::Ready(Err(failure));
        }
        let is_alone = || lock(&shared.occupancy).seats == 1;
        if !is_out || desk.is_stuck() || !desk.is_quiet.load(Relaxed) && is_alone() {
            return Poll::Pending;
        }
        desk.ended(&self.meter);
        if let Some(entry) = &mut *lock(&shared.entry)
            && !entry.grow(desk.memory_bytes.load(Relaxed))
        {
            desk.is_worn.store(true, Relaxed);
        }
        self.place.is_done = true;
        Poll::Ready(Ok(()))
    }
}

/// The whole life of an instance, driven by its requests.
async fn drive(
    mut store: Store<State>,
    service: Service,
    desk: Arc<Desk>,
    core: Weak<Core>,
) -> wasmtime::Result<()> {
    store
        .run_concurrent(async |accessor| {
            std::future::poll_fn(|cx| {
                desk.turn();
                for order in desk.orders() {
                    if let Err(error) = begin(accessor, &service, &desk, &core, order) {
                        return Poll::Ready(Err(error));
                    }
                }
                if desk.wants_look.swap(false, Relaxed) {
                    let is_quiet = accessor.poll_no_interesting_tasks(cx).is_ready();
                    desk.is_quiet.store(is_quiet, Relaxed);
                    accessor.with(|mut access| measure(access.data_mut(), &desk, is_quiet));
                }
                accessor.with(|mut access| access.as_context_mut().set_epoch_deadline(1));
                Poll::Pending
            })
            .await
        })
        .await?
}

/// Whether the instance may serve on.
fn measure(state: &mut State, desk: &Desk, is_quiet: bool) {
    if is_quiet {
        state.rest();
    }
    desk.memory_bytes.store(state.memory_bytes(), Relaxed);
    let is_worn = state.meter.growth_refused() || state.resources() > limits::RESOURCES_SHARED_MAX;
    if is_worn {
        desk.is_worn.store(true, Relaxed);
    }
}

/// Calls the guest for one request.
fn begin(
    accessor: &Accessor<State>,
    service: &Service,
    desk: &Arc<Desk>,
    core: &Weak<Core>,
    order: Arc<Order>,
) -> wasmtime::Result<()> {
    let Some(core) = core.upgrade() else { return Ok(()) };
    // Its caller left, or took it elsewhere.
    let Some(Begin {
        request,
        turn,
        running,
    }) = order.take_begin()
    else {
        return Ok(());
    };
    desk.is_quiet.store(false, Relaxed);
    let handle = service.wasi_http_handler().func_handle();
    let call = accessor.with(|mut access| {
        let mut store = access.as_context_mut();
        let state = store.data_mut();
        core.admit(state, &turn, running, desk.is_empty());
        let http = state.http();
        let (request, _io) = wasmtime_wasi_http::p3::Request::from_http(http.hooks, with_authority(request));
        let request = http.table.push(request)?;
        handle.start_call_concurrent(store, (request,))
    })?;
    desk.began(call.task(), turn.meter);
    accessor.spawn(Answering {
        call,
        handle,
        desk: desk.clone(),
        order,
    })?;
    Ok(())
}

/// One request from its call to its answer.
struct Answering {
    call: TypedFuncCallConcurrent<State, Parameters, Results>,
    handle: TypedFunc<Parameters, Results>,
    desk: Arc<Desk>,
    order: Arc<Order>,
}

impl AccessorTask<State> for Answering {
    async fn run(self, accessor: &Accessor<State>) -> wasmtime::Result<()> {
        let (answered,) = self.handle.finish_call_concurrent(accessor, self.call).await?;
        let answer = match answered {
            Ok(response) => {
                let order = self.order.clone();
                let sent = async move {
                    order.sent.notified().await;
                    Ok(())
                };
                let response = accessor.with(|mut access| {
                    let mut store = access.as_context_mut();
                    let response = store.data_mut().http().table.delete(response)?;
                    response.into_http(&mut store, sent)
                });
                // What is wrong with this answer is no fault of the other requests.
                response.map_err(|error| format!("{error:#}"))
            }
            Err(code) => Err(format!("{code:?}")),
        };
        self.order.put(answer);
        self.desk.notify(self.order.seat);
        Ok(())
    }
}
