//! The sandbox under generated guests and requests, in this process: nothing panics or aborts, each request ends with an
//! answer or a named fault within its limits, what it held is given back, and a good neighbour never notices. The
//! compiler runs in its child, as ever. Inputs follow from a fixed rule, so that they are the same everywhere.

#[path = "../../../../fuzz/src/guests.rs"]
#[expect(unreachable_pub, reason = "in the fuzz workspace it is part of a library")]
mod guests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fermion_model::fault::Failure;
use fermion_model::manifest::Instances;
use fermion_model::{Digest, Limits};
use fermion_runtime::{Call, Compiler, CompilerConfig, Engines, Grants, Meter, Program, SealKey};
use http_body_util::{BodyExt as _, Empty, Full};

/// Guests that are generated.
const GUESTS: u64 = 96;
/// Requests to each: with all guests together more than the pool has slots, so that one that is not given back is missed.
const REQUESTS: u64 = 12;

/// Marsaglia's xorshift: a fixed sequence is all that is wanted.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

/// For ever, as far as a machine that is slow may know.
const LET_GO_MAX: Duration = Duration::from_secs(60);

struct Sandbox {
    engines: Arc<Engines>,
    compiler: Compiler,
    _cache: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let cache = tempfile::tempdir().unwrap();
        let engines = Arc::new(Engines::new().unwrap());
        let config = CompilerConfig::new(env!("CARGO_BIN_EXE_fermion").into(), cache.path().to_owned());
        let compiler = Compiler::new(engines.clone(), config, SealKey::from_bytes([7; 32])).unwrap();
        Self {
            engines,
            compiler,
            _cache: cache,
        }
    }

    /// A program, or the code of what is wrong with it.
    async fn program(&self, wasm: Vec<u8>, name: u64) -> Result<Program, &'static str> {
        let limits = Limits {
            memory_bytes: 4 << 20,
            cpu_time: Duration::from_millis(5),
            wall_time: Duration::from_millis(60),
            ..Limits::default()
        };
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&name.to_le_bytes());
        let compiled = self.compiler.compile(wasm, &Digest::from_bytes(digest)).await;
        let compiled = compiled.map_err(|error| error.code())?;
        Program::load(
            &self.engines,
            &compiled,
            Grants::default(),
            limits,
            Instances::default(),
        )
        .map_err(|error| error.code())
    }
}

/// One request to its end: the status and the body's length, or the fault.
async fn ask(program: &Program, body: Option<Vec<u8>>) -> Result<(u16, usize), Failure> {
    let permit = Arc::new(());
    let call = Call {
        permit: permit.clone(),
        output: Arc::new(()),
        traceparent: None,
        meter: Arc::new(Meter::default()),
        is_copy: false,
    };
    let request = hyper::Request::post("http://fuzz.test/path?query");
    let body = match body {
        Some(bytes) => Full::new(Bytes::from(bytes))
            .map_err(|never| match never {})
            .boxed_unsync(),
        None => Empty::new().map_err(|never| match never {}).boxed_unsync(),
    };
    let answered = match program.handle(request.body(body).unwrap(), call).await {
        Ok(response) => {
            let status = response.status().as_u16();
            let collected = response.into_body().collect().await;
            collected.map(|body| (status, body.to_bytes().len()))
        }
        Err(failure) => Err(failure),
    };
    // A guest that was ended on another thread lets go a moment after its answer.
    let let_go = async {
        while Arc::strong_count(&permit) > 1 {
            tokio::task::yield_now().await;
        }
    };
    let let_go = tokio::time::timeout(LET_GO_MAX, let_go).await;
    assert!(let_go.is_ok(), "a permit is held by nobody");
    answered
}

#[test]
fn generated_guests_end_with_an_answer_or_a_named_fault() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let sandbox = Sandbox::new();
        // A script of no statements but an answer.
        let good = guests::component(&[1, 0, 0, 0, 0, 40, 25]);
        let good = sandbox.program(good, u64::MAX).await.unwrap();
        assert_eq!(ask(&good, None).await.unwrap(), (200, 40));
        let mut sequence = Sequence(0x9e37_79b9_7f4a_7c15);
        let (mut answered, mut faults) = (0, std::collections::BTreeSet::new());
        for guest in 0..GUESTS {
            let length = 8 + usize::try_from(sequence.next() % 400).unwrap();
            let script = sequence.bytes(length);
            let program = match sandbox.program(guests::component(&script), guest).await {
                Ok(program) => program,
                Err(code) => {
                    faults.insert(code);
                    continue;
                }
            };
            for request in 0..REQUESTS {
                let body = (request % 3 == 1).then(|| script.clone());
                match ask(&program, body).await {
                    Ok((status, _)) => {
                        assert!((100..1000).contains(&status));
                        answered += 1;
                    }
                    Err(failure) => drop(faults.insert(failure.fault.code())),
                }
            }
            assert_eq!(
                ask(&good, None).await.unwrap(),
                (200, 40),
                "after guest {guest}: {script:?}"
            );
        }
        assert!(answered > 0, "some of them answer: {answered}");
        assert!(faults.contains("GUEST_TRAP"), "{faults:?}");
    });
}
