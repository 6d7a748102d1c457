//! The two ends of the export: the one that requests touch, and the one that encodes, buffers and sends.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use fermion_model::record::RequestRecord;
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::deliver::Deliver;
use super::encode::{self, Identity, metrics::Interval};
use super::exposition::ExportReading;
use super::grpc::Grpc;
use super::http::Http;
use super::meters::Meters;
use super::receiver::{Protocol, Receiver};
use super::sampler::{self, Sampler, TraceConfig};
use super::sender::{Failures, Sender, SharedBuffer, with};
use crate::buffer::{Batch, Buffer, BufferReading};
use crate::intake::Uncounted;
use crate::limits::EXPORT_QUEUE_REQUESTS_MAX;
use crate::{Clock, DropReason, Error, Follower, LogLine, Signal, Trace};

/// How often spans and log records are put into the buffer: what a `kill -9` may cost of them.
const FLUSH_EVERY: Duration = Duration::from_millis(500);
/// How long sending may take after the signal to stop. What is left waits on disk.
const LAST_SEND_MAX: Duration = Duration::from_secs(2);

/// What an export needs to know.
#[derive(Debug)]
pub struct ExportConfig {
    /// Where to.
    pub receiver: Receiver,
    /// Who sends.
    pub identity: Identity,
    /// The buffer's own directory.
    pub buffer: PathBuf,
    /// What the buffer may hold, bytes.
    pub buffer_bytes_max: u64,
    /// How often metrics are sent.
    pub every: Duration,
    /// Which traces are kept.
    pub traces: TraceConfig,
}

/// A request whose trace is kept, or which is logged.
#[derive(Debug)]
struct Seen {
    end: SystemTime,
    record: RequestRecord,
    is_traced: bool,
    is_logged: bool,
}

/// The end that requests touch.
pub struct Export {
    meters: Meters,
    sampler: Sampler,
    requests: mpsc::Sender<Seen>,
    lost_spans: AtomicU64,
    lost_records: AtomicU64,
    clock: Arc<dyn Clock>,
    buffer: Box<dyn Fn() -> BufferReading + Send + Sync>,
    failures: Failures,
    uncounted: Uncounted,
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("sampler", &self.sampler)
            .finish_non_exhaustive()
    }
}

impl Export {
    /// Set by the intake whose requests are counted here.
    pub(crate) fn uncounted(&self) -> &Uncounted {
        &self.uncounted
    }

    /// Takes in one request and when it ended, and says whether its trace is kept. Allocates for those, and waits for
    /// nothing.
    pub fn observe(&self, record: &RequestRecord, end: SystemTime) -> Trace {
        let Some(reason) = self.sampler.reason(record, record.arm) else {
            self.meters.observe(record, None);
            return Trace::Dropped;
        };
        let second = sampler::second(end);
        let is_traced = self.sampler.keep(reason, second);
        let is_logged = sampler::is_failed(record) && self.sampler.log(second);
        let is_queued = (is_traced || is_logged) && self.queue(end, record, is_traced, is_logged);
        let is_kept = is_traced && is_queued;
        self.meters.observe(record, is_kept.then_some(end));
        if is_kept { Trace::Found } else { Trace::Dropped }
    }

    /// Requests that had no place for series of their own.
    pub fn overflowed(&self) -> u64 {
        self.meters.overflowed()
    }

    fn queue(&self, end: SystemTime, record: &RequestRecord, is_traced: bool, is_logged: bool) -> bool {
        if let Ok(place) = self.requests.try_reserve() {
            place.send(Seen {
                end,
                record: record.clone(),
                is_traced,
                is_logged,
            });
            return true;
        }
        if is_traced {
            self.lost_spans.fetch_add(encode::spans::count(record), Relaxed);
        }
        if is_logged {
            self.lost_records.fetch_add(1, Relaxed);
        }
        false
    }

    /// What is exported, and what became of it.
    pub fn reading(&self) -> ExportReading {
        ExportReading {
            buffer: (self.buffer)(),
            failures: self.failures.each_ref().map(|count| count.load(Relaxed)),
            traces: self.sampler.reading(),
        }
    }
}

/// The end that encodes, buffers and sends.
pub struct Exporter {
    export: Arc<Export>,
    receiver: Receiver,
    identity: Arc<Identity>,
    every: Duration,
    requests: mpsc::Receiver<Seen>,
    buffer: SharedBuffer,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter")
            .field("receiver", &self.receiver)
            .finish_non_exhaustive()
    }
}

impl Exporter {
    /// Opens the buffer and takes up what an earlier process left there. This may wait for the disk.
    ///
    /// # Errors
    /// When the buffer cannot be opened.
    pub fn open(config: ExportConfig, clock: Arc<dyn Clock>) -> Result<(Arc<Export>, Self), Error> {
        let buffer = Buffer::open(&config.buffer, config.buffer_bytes_max)?;
        let (sender, requests) = mpsc::channel(EXPORT_QUEUE_REQUESTS_MAX);
        let export = Arc::new(Export {
            meters: Meters::default(),
            sampler: Sampler::new(&config.traces),
            requests: sender,
            lost_spans: AtomicU64::new(0),
            lost_records: AtomicU64::new(0),
            clock,
            buffer: Box::new(buffer.reader()),
            failures: Failures::default(),
            uncounted: Uncounted::default(),
        });
        let exporter = Self {
            export: Arc::clone(&export),
            receiver: config.receiver,
            identity: Arc::new(config.identity),
            every: config.every,
            requests,
            buffer: Arc::new(Mutex::new(buffer)),
        };
        Ok((export, exporter))
    }

    /// Exports requests and these lines until `stop`, and what is left then.
    ///
    /// # Errors
    /// When the receiver's address cannot be used.
    pub async fn run(self, lines: Follower, stop: CancellationToken) -> Result<(), Error> {
        match self.receiver.protocol {
            Protocol::Http => {
                let deliver = Http::new(self.receiver.clone());
                self.drive(deliver, lines, stop).await;
            }
            Protocol::Grpc => {
                let deliver = Grpc::new(&self.receiver)?;
                self.drive(deliver, lines, stop).await;
            }
        }
        Ok(())
    }

    async fn drive(self, deliver: impl Deliver, lines: Follower, stop: CancellationToken) {
        let news = Arc::new(Notify::new());
        let failures = Arc::clone(&self.export.failures);
        let mut sender = Sender::new(Arc::clone(&self.buffer), deliver, Arc::clone(&news), failures);
        let collector = Collector {
            since: self.export.clock.now(),
            export: self.export,
            identity: self.identity,
            every: self.every,
            requests: self.requests,
            lines,
            lines_lost: 0,
            buffer: self.buffer,
            news,
        };
        let is_collected = CancellationToken::new();
        let collect = async {
            collector.run(stop).await;
            is_collected.cancel();
        };
        let send = async {
            sender.run(&is_collected).await;
            if timeout(LAST_SEND_MAX, sender.flush()).await.is_err() {
                tracing::debug!("what could not be sent in time waits on disk");
            }
        };
        tokio::join!(collect, send);
    }
}

/// Makes batches of what has come together.
struct Collector {
    export: Arc<Export>,
    identity: Arc<Identity>,
    every: Duration,
    requests: mpsc::Receiver<Seen>,
    lines: Follower,
    /// Of the lines that the follower lost, those that are counted already.
    lines_lost: u64,
    /// When metrics were taken last.
    since: SystemTime,
    buffer: SharedBuffer,
    news: Arc<Notify>,
}

impl Collector {
    async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(FLUSH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waited = Duration::ZERO;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            waited += FLUSH_EVERY;
            let is_due = waited >= self.every;
            if is_due {
                waited = Duration::ZERO;
            }
            self.collect(is_due).await;
        }
        self.collect(true).await;
    }

    async fn collect(&mut self, with_metrics: bool) {
        self.export.uncounted.count();
        let mut seen = Vec::new();
        // No more than the queue holds, so that the rest of a flood waits for the next turn.
        while seen.len() < EXPORT_QUEUE_REQUESTS_MAX
            && let Ok(one) = self.requests.try_recv()
        {
            seen.push(one);
        }
        // Each thread's came in the order in which they ended.
        seen.sort_by_key(|seen| seen.end);
        let lines = self.lines.take_all();
        let lost_lines = self.lines.lost() - self.lines_lost;
        self.lines_lost += lost_lines;
        let lost = [
            (Signal::Traces, self.export.lost_spans.swap(0, Relaxed)),
            (
                Signal::Logs,
                self.export.lost_records.swap(0, Relaxed) + lost_lines,
            ),
        ];
        let measured = with_metrics.then(|| {
            let until = self.export.clock.now();
            let from = std::mem::replace(&mut self.since, until).min(until);
            (Interval { from, until }, Arc::clone(&self.export))
        });
        let is_quiet = measured.is_none() && seen.is_empty() && lines.is_empty();
        if is_quiet && lost.iter().all(|(_, count)| *count == 0) {
            return;
        }
        let identity = Arc::clone(&self.identity);
        let put = move |buffer: &mut Buffer| {
            let mut batches = Vec::new();
            if let Some((interval, export)) = measured {
                batches.extend(encode::metrics::batches(
                    &identity,
                    interval,
                    export.meters.take(),
                ));
            }
            batches.extend(of_requests(&identity, &seen, &lines));
            for batch in &batches {
                buffer.append(batch);
            }
            for (signal, count) in lost {
                buffer.lost(signal, DropReason::Queue, count);
            }
        };
        with(&self.buffer, put).await;
        self.news.notify_one();
    }
}

fn of_requests(identity: &Identity, seen: &[Seen], lines: &[Arc<LogLine>]) -> Vec<Batch> {
    let traced = seen.iter().filter(|seen| seen.is_traced);
    let logged = seen.iter().filter(|seen| seen.is_logged);
    let mut batches = encode::spans::batches(identity, traced.map(|seen| (seen.end, &seen.record)));
    let lines = lines.iter().map(|line| &**line);
    let logged = logged.map(|seen| (seen.end, &seen.record));
    batches.extend(encode::logs::batches(identity, lines, logged));
    batches
}
