//! The parent's side of a child that works behind a jail: what it reads and what it writes are two unnamed files, and
//! its exit status says whose fault it was. Refuses to do: knowing what the child works at.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::{blocking, child};
use crate::error::Error;
use crate::limits;

/// Bytes of a child's complaint that are kept.
const COMPLAINT_BYTES_MAX: u64 = 8 * 1024;

/// One child to be run.
pub(crate) struct Order<'a> {
    /// This program itself.
    pub(crate) executable: &'a Path,
    /// Where the unnamed files are made.
    pub(crate) directory: &'a Path,
    pub(crate) arguments: Vec<String>,
    /// From start to end.
    pub(crate) wall: Duration,
}

/// How a child ended.
pub(crate) enum Ended {
    /// With what it was asked for. `said` is what its jail lacks.
    Done { output: Vec<u8>, said: String },
    /// What it was given is at fault.
    Refused { complaint: String },
    /// It counted more than was allowed.
    Limit { complaint: String },
    /// Neither: a panic, or a file that cannot be read.
    Failed { code: i32, complaint: String },
    /// It was not done in time.
    TooLong,
    /// By a signal: the system's own limits.
    Killed { status: String },
}

impl Order<'_> {
    /// Runs the child to its end. Dropping the future kills it.
    pub(crate) async fn run(self, input: Vec<u8>) -> Result<Ended, Error> {
        let failed = |source| Error::file("run the compiler as", self.executable, source);
        let directory = self.directory.to_owned();
        let (input, output) = blocking(move || exchange_files(&directory, &input)).await??;
        let mut child = tokio::process::Command::new(self.executable)
            .args(self.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output.try_clone().map_err(failed)?))
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stderr = child.stderr.take().expect("piped above");
        let wait = async {
            let mut complaint = Vec::new();
            // Whatever cannot be read of the complaint is not worth an error of its own.
            drop(stderr.take(COMPLAINT_BYTES_MAX).read_to_end(&mut complaint).await);
            (
                child.wait().await,
                String::from_utf8_lossy(&complaint).trim().to_owned(),
            )
        };
        let Ok((status, complaint)) = tokio::time::timeout(self.wall, wait).await else {
            return Ok(Ended::TooLong);
        };
        let status = status.map_err(failed)?;
        Ok(match status.code() {
            Some(0) => Ended::Done {
                output: blocking(move || read_back(output)).await?.map_err(failed)?,
                said: complaint,
            },
            Some(child::EXIT_COMPONENT_INVALID) => Ended::Refused { complaint },
            Some(child::EXIT_LIMIT) => Ended::Limit { complaint },
            Some(code) => Ended::Failed { code, complaint },
            None => Ended::Killed {
                status: status.to_string(),
            },
        })
    }
}

/// Two unnamed files: what the child reads and what it writes. It is given no path at all.
fn exchange_files(directory: &Path, wasm: &[u8]) -> Result<(File, File), Error> {
    let make = || -> std::io::Result<_> {
        let mut input = tempfile::tempfile_in(directory)?;
        input.write_all(wasm)?;
        input.rewind()?;
        Ok((input, tempfile::tempfile_in(directory)?))
    };
    make().map_err(|source| Error::file("write in", directory, source))
}

fn read_back(mut output: File) -> std::io::Result<Vec<u8>> {
    output.rewind()?;
    let mut code = Vec::new();
    output.take(limits::NATIVE_BYTES_MAX).read_to_end(&mut code)?;
    Ok(code)
}
