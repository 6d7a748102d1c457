//! Where requests that are over come in. A serving thread only puts them down; some dozens are counted together, which
//! takes half of what counting each between two requests would, as nothing that counting needs is in the processor's
//! caches then. Whoever reads what was counted has the rest counted first, so that nobody sees a request late.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::thread;
use std::time::SystemTime;

use fermion_model::frame::Arm;
use fermion_model::record::RequestRecord;

use crate::access_log::Lines;
use crate::limits::{INTAKE_RECORDS, INTAKE_RECORDS_MAX, SHARDS_MAX};
use crate::release_metrics::thread_index;
use crate::{AccessLog, Clock, Export, Frames, Telemetry, Trace, Traces};

/// A request that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    /// When it was handed in.
    pub(crate) end: SystemTime,
    pub(crate) record: RequestRecord,
}

/// Who counts requests beside the metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// None where nobody collects frames.
    pub frames: Option<Arc<Frames>>,
    /// None where nothing is exported.
    pub export: Option<Arc<Export>>,
    /// None where nobody asks for traces.
    pub traces: Option<Traces>,
}

/// One thread's share, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    waiting: Mutex<Vec<Ended>>,
    /// Those that are being counted: while it is held, everything that waited before is on its way or counted.
    taken: Mutex<Vec<Ended>>,
}

/// What waits, and who counts it.
pub(crate) struct Gathered {
    shards: Box<[Shard]>,
    telemetry: Arc<Telemetry>,
    counters: Counters,
    lines: Lines,
}

/// Takes in every request that is over.
pub struct Intake {
    /// Dropped first: its writer has the rest counted before it ends.
    access: AccessLog,
    gathered: Arc<Gathered>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// What a reader does first: has everything counted that waits. Nothing where there is no intake.
#[derive(Default)]
pub(crate) struct Uncounted(OnceLock<Weak<Gathered>>);

impl fmt::Debug for Uncounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uncounted").finish_non_exhaustive()
    }
}

impl Uncounted {
    /// Only the first counts.
    fn of(&self, gathered: &Arc<Gathered>) {
        let _was_set = self.0.set(Arc::downgrade(gathered));
    }

    pub(crate) fn count(&self) {
        if let Some(gathered) = self.0.get().and_then(Weak::upgrade) {
            gathered.count();
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gathered {
    fn count_one(&self, Ended { end, record }: &Ended) {
        let Counters {
            frames,
            export,
            traces,
        } = &self.counters;
        // What is counted of an app is what its callers met.
        let is_copy = record.arm == Arm::Mirror;
        if !is_copy {
            let exported = export.as_ref().map(|export| export.observe(record, *end));
            // Where no trace goes anywhere, the id leads to the logs.
            self.telemetry.observe(record, exported.unwrap_or(Trace::Found));
        }
        if let Some(frames) = frames {
            frames.observe(record);
        }
        if let Some(traces) = traces.as_ref().filter(|_| !is_copy) {
            traces.observe(record, *end);
        }
    }
}

impl Gathered {
    /// Counts everything that waits.
    fn count(&self) {
        let mut taken: Vec<_> = self.shards.iter().map(|shard| held(&shard.taken)).collect();
        {
            // All at one moment: of two requests that followed each other, never the later one alone.
            let waiting: Vec<_> = self.shards.iter().map(|shard| held(&shard.waiting)).collect();
            for (taken, mut waiting) in taken.iter_mut().zip(waiting) {
                take(taken, &mut waiting);
            }
        }
        taken.iter_mut().for_each(|taken| self.count_taken(taken));
    }

    fn count_shard(&self, shard: &Shard, mut taken: MutexGuard<'_, Vec<Ended>>) {
        take(&mut taken, &mut held(&shard.waiting));
        self.count_taken(&mut taken);
    }

    fn count_taken(&self, taken: &mut Vec<Ended>) {
        taken.iter().for_each(|ended| self.count_one(ended));
        self.lines.append(taken);
    }
}

fn take(taken: &mut Vec<Ended>, waiting: &mut Vec<Ended>) {
    // Not empty only if somebody panicked while they were being counted.
    taken.clear();
    mem::swap(taken, waiting);
}

impl Intake {
    /// Nothing has come in yet. Whoever counts is told of what waits here.
    pub fn new(
        telemetry: Arc<Telemetry>,
        counters: Counters,
        access: AccessLog,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let shards = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let gathered = Arc::new(Gathered {
            shards: (0..shards.clamp(1, SHARDS_MAX))
                .map(|_| Shard::default())
                .collect(),
            telemetry,
            counters,
            lines: access.lines(),
        });
        let Counters {
            frames,
            export,
            traces,
        } = &gathered.counters;
        let mut readers = vec![gathered.telemetry.uncounted(), access.uncounted()];
        readers.extend(frames.as_ref().map(|frames| frames.uncounted()));
        readers.extend(export.as_ref().map(|export| export.uncounted()));
        readers.extend(traces.as_ref().map(Traces::uncounted));
        readers.iter().for_each(|reader| reader.of(&gathered));
        Self {
            access,
            gathered,
            clock,
        }
    }

    /// Takes in one request.
    pub fn add(&self, record: RequestRecord) {
        let end = self.clock.now();
        let gathered = &*self.gathered;
        let shard = &gathered.shards[thread_index() % gathered.shards.len()];
        let mut waiting = held(&shard.waiting);
        waiting.push(Ended { end, record });
        let count = waiting.len();
        drop(waiting);
        match count {
            1 => gathered.lines.call(),
            // Who reads meanwhile may have to wait for a processor: a serving thread waits for nobody who waits for one.
            INTAKE_RECORDS..INTAKE_RECORDS_MAX => match shard.taken.try_lock() {
                Ok(taken) => gathered.count_shard(shard, taken),
                Err(TryLockError::Poisoned(poisoned)) => gathered.count_shard(shard, poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            },
            INTAKE_RECORDS_MAX.. => gathered.count_shard(shard, held(&shard.taken)),
            _ => {}
        }
    }

    /// True if somebody wants to know of a request's path.
    pub fn wants_path(&self) -> bool {
        let Counters { export, traces, .. } = &self.gathered.counters;
        self.access.is_on() || export.is_some() || traces.is_some()
    }

    /// Writes the access log to its end, ends its writer, and counts what waits.
    pub fn close(self) {
        self.access.close();
        // Where there is no writer, nobody has done so.
        self.gathered.count();
    }
}
