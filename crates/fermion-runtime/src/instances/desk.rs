//! What an instance that serves several requests at once has in common with those requests: who waits for it, what has
//! not begun yet, and whose CPU time a tick is. Neither side owns the other through it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wasmtime::component::GuestTaskId;
use wasmtime_wasi_http::WasiBody;

use super::instance::Turn;
use crate::engine::Running;
use crate::meter::{Meter, thread_cpu_nanos};

/// One request as the instance sees it.
pub(crate) struct Order {
    /// None once it has begun, or has been taken to another instance.
    begin: Mutex<Option<Begin>>,
    answer: Mutex<Option<Result<http::Response<WasiBody>, String>>>,
    /// The answer is out, or nobody wants it any more.
    pub(super) ended: CancellationToken,
    /// Tells the guest so.
    pub(super) sent: Notify,
    pub(super) seat: u64,
}

/// A request that has not begun.
pub(crate) struct Begin {
    pub(crate) request: http::Request<WasiBody>,
    pub(crate) turn: Turn,
    pub(crate) running: Running,
}

impl Order {
    pub(super) fn new(begin: Begin, seat: u64, ended: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            begin: Mutex::new(Some(begin)),
            answer: Mutex::new(None),
            ended,
            sent: Notify::new(),
            seat,
        })
    }

    pub(super) fn take_begin(&self) -> Option<Begin> {
        lock(&self.begin).take()
    }

    pub(super) fn put(&self, answer: Result<http::Response<WasiBody>, String>) {
        *lock(&self.answer) = Some(answer);
    }

    pub(super) fn take_answer(&self) -> Option<Result<http::Response<WasiBody>, String>> {
        lock(&self.answer).take()
    }
}

/// A request's task, and whether it still waits for its answer's head: then it is sure to look when it is woken.
struct Listener {
    seat: u64,
    waker: Waker,
    waits_for_head: bool,
}

/// The place where an instance and its requests leave word for each other.
#[derive(Default)]
pub(crate) struct Desk {
    listeners: Mutex<Vec<Listener>>,
    inbox: Mutex<Vec<Arc<Order>>>,
    /// Something in the instance can go on, and nobody has looked yet.
    is_rung: AtomicBool,
    /// Somebody looks at this moment, and will look at the bell before going.
    is_looking: AtomicBool,
    /// Who looks.
    looking: AtomicU64,
    /// A guest was interrupted by a tick and holds the instance until it goes on: nothing else in it can.
    is_stuck: AtomicBool,
    /// Nothing of any guest is left to do; as of the last look.
    pub(super) is_quiet: AtomicBool,
    pub(super) wants_look: AtomicBool,
    /// It may not serve longer than those who are in it.
    pub(super) is_worn: AtomicBool,
    pub(super) memory_bytes: AtomicU64,
    charges: Mutex<Charges>,
}

/// Whose CPU time it is. A tick names the request that runs; what the thread used since the look began, or the tick
/// before, is that request's, and so is the rest until the look ends.
#[derive(Default)]
struct Charges {
    tasks: Vec<(GuestTaskId, Arc<Meter>)>,
    /// Work of requests that have gone.
    nobody: Arc<Meter>,
    running: Option<Arc<Meter>>,
    /// The request that used up its CPU time.
    offender: Option<Arc<Meter>>,
    is_measuring: bool,
    mark_nanos: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    pub(super) fn order(&self, order: Arc<Order>) {
        lock(&self.inbox).push(order);
    }

    pub(super) fn orders(&self) -> Vec<Arc<Order>> {
        std::mem::take(&mut *lock(&self.inbox))
    }

    /// The event loop has come round: whoever held it has let go.
    pub(super) fn turn(&self) {
        self.is_stuck.store(false, Relaxed);
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Relaxed)
    }

    pub(super) fn listen(&self, seat: u64, waker: &Waker, waits_for_head: bool) {
        let mut listeners = lock(&self.listeners);
        match listeners.iter_mut().find(|listener| listener.seat == seat) {
            Some(listener) => {
                listener.waits_for_head = waits_for_head;
                listener.waker.clone_from(waker);
            }
            None => listeners.push(Listener {
                seat,
                waker: waker.clone(),
                waits_for_head,
            }),
        }
    }

    /// One who listened goes. What it was told and has not looked at is told to another.
    pub(super) fn leave(&self, seat: u64) {
        lock(&self.listeners).retain(|listener| listener.seat != seat);
        self.pass_on();
    }

    /// Tells another what nobody has looked at.
    pub(super) fn pass_on(&self) {
        if self.is_rung.load(SeqCst) {
            self.ring();
        }
    }

    /// A request's answer is there. It sees so by itself if it is the one that looks.
    pub(super) fn notify(&self, seat: u64) {
        if self.is_looking.load(Relaxed) && self.looking.load(Relaxed) == seat {
            return;
        }
        if let Some(listener) = lock(&self.listeners)
            .iter()
            .find(|listener| listener.seat == seat)
        {
            listener.waker.wake_by_ref();
        }
    }

    pub(super) fn notify_all(&self) {
        for listener in &*lock(&self.listeners) {
            listener.waker.wake_by_ref();
        }
    }

    /// Wakes one who is sure to look. Who sends an answer to a slow client may not: then all are woken, and whoever
    /// needs something of the instance is among them.
    fn ring(&self) {
        let listeners = lock(&self.listeners);
        match listeners.iter().find(|listener| listener.waits_for_head) {
            Some(sure) => sure.waker.wake_by_ref(),
            None => listeners.iter().for_each(|listener| listener.waker.wake_by_ref()),
        }
    }

    pub(super) fn is_rung(&self) -> bool {
        self.is_rung.load(SeqCst)
    }

    /// This request is about to let the instance go on. Until it has, the bell wakes nobody.
    pub(super) fn enter(&self, order: &Order) {
        self.looking.store(order.seat, Relaxed);
        self.is_looking.store(true, SeqCst);
        if order.ended.is_cancelled() {
            order.sent.notify_one();
        }
        self.is_rung.store(false, SeqCst);
        let mut charges = lock(&self.charges);
        charges.running = None;
        if charges.is_measuring {
            charges.mark_nanos = thread_cpu_nanos();
        }
    }

    pub(super) fn exit(&self) {
        self.is_looking.store(false, SeqCst);
        let mut charges = lock(&self.charges);
        if let Some(running) = charges.running.take() {
            charges.charge(&running);
        }
    }

    /// No request is in the middle of its work here.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.charges).tasks.is_empty()
    }

    pub(super) fn began(&self, task: GuestTaskId, meter: Arc<Meter>) {
        lock(&self.charges).tasks.push((task, meter));
    }

    pub(super) fn ended(&self, meter: &Arc<Meter>) {
        meter.holds(self.memory_bytes.load(Relaxed));
        let mut charges = lock(&self.charges);
        charges.tasks.retain(|(_, other)| !Arc::ptr_eq(other, meter));
        if charges.tasks.is_empty() {
            charges.is_measuring = false;
            charges.nobody = Arc::default();
        }
    }

    /// A tick passed while a guest ran for `task`. False if that one has used up `cpu_time_max`.
    pub(crate) fn tick(&self, task: Option<GuestTaskId>, cpu_time_max: Duration) -> bool {
        self.is_stuck.store(true, Relaxed);
        let mut charges = lock(&self.charges);
        let named = charges.tasks.iter().rev().find(|(id, _)| Some(*id) == task);
        let running = named.map_or(&charges.nobody, |(_, meter)| meter).clone();
        if charges.is_measuring {
            charges.charge(&running);
        } else {
            charges.is_measuring = true;
            charges.mark_nanos = thread_cpu_nanos();
        }
        let is_over = running.cpu() > cpu_time_max;
        if is_over {
            charges.offender = Some(running.clone());
        }
        charges.running = Some(running);
        !is_over
    }

    /// Whether this request's guest is the one that used up its CPU time.
    pub(super) fn is_offender(&self, meter: &Arc<Meter>) -> bool {
        let charges = lock(&self.charges);
        charges
            .offender
            .as_ref()
            .is_some_and(|other| Arc::ptr_eq(other, meter))
    }
}

impl Charges {
    fn charge(&mut self, meter: &Meter) {
        let now = thread_cpu_nanos();
        meter.charge_nanos(now.saturating_sub(self.mark_nanos));
        self.mark_nanos = now;
    }
}

impl Wake for Desk {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_rung.store(true, SeqCst);
        if !self.is_looking.load(SeqCst) {
            self.ring();
        }
    }
}
