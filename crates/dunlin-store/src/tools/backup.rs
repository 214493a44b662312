//! A copy of a store while its broker runs: the broker writes a consistent export to whoever asks
//! through a socket in the folder, and goes on meanwhile.

use super::line::{Line, NAME, VERSION};
use super::{Copied, Outcome, ToolError, export};
use crate::engine::Engine;
use crate::loss::Loss;
use crate::open::OpenError;
use crate::recovery::Recovery;
use crate::shared::Shared;
use std::cell::RefCell;
use std::fs::{DirBuilder, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock};

const SOCKET: &str = "control.sock";
const REQUEST: &[u8] = b"backup\n";
/// A client that takes nothing for so long is given up: what it has read of is kept on the disk
/// meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look meanwhile whether the broker stops.
const LOOK_AFTER: Duration = Duration::from_millis(100);

/// Writes what is stored, as it is at this moment, until `stop` says that nobody may read any more.
/// What is lost is added to what was lost before.
pub(crate) fn write_export(
    engine: &Engine,
    losses: &mut Vec<Loss>,
    out: &mut dyn Write,
    stop: &dyn Fn() -> bool,
) -> io::Result<Copied> {
    let mut records = 0;
    write_line(out, &Line::Header { format: NAME.to_owned(), version: VERSION })?;
    let outcome = RefCell::new(Ok(()));
    let mut each = |record| {
        let mut outcome = outcome.borrow_mut();
        if outcome.is_ok()
            && let Some(line) = Line::new(&record)
        {
            records += 1;
            *outcome = write_line(out, &line);
        }
    };
    // Whoever closes the database waits for the end of this.
    let is_over = || stop() || outcome.borrow().is_err();
    let recovered = Recovery::new(engine, &mut each).thorough().until(&is_over).run();
    outcome.into_inner()?;
    if !recovered.is_whole {
        return Err(io::Error::other("the broker stops, or its disk fails"));
    }
    losses.extend(recovered.losses);
    let lost = losses.iter().map(Loss::count).sum();
    write_line(out, &Line::End { records, lost })?;
    out.flush()?;
    Ok(Copied { records, lost })
}

fn write_line(out: &mut dyn Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// Copies the store of a broker that runs, or of one that has stopped. The copy is an export, for
/// [`import`](super::import). What is damaged is left out; a broker that runs names it in its log,
/// and here it is only counted.
///
/// # Errors
/// When the broker can't be reached or ends, or the output can't be written: it is not whole then.
pub fn backup(folder: impl AsRef<Path>, out: &mut dyn Write) -> Result<Outcome<Copied>, ToolError> {
    let folder = folder.as_ref();
    let mut stream = match UnixStream::connect(folder.join(SOCKET)) {
        Ok(stream) => stream,
        // Nobody is there: it is a stopped broker's.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return export(folder, out);
        }
        Err(error) => {
            let source = too_long(error);
            return Err(OpenError::Io { path: folder.join(SOCKET), source }.into());
        }
    };
    stream.write_all(REQUEST)?;
    let mut lines = BufReader::new(stream);
    let (mut line, mut count) = (Vec::new(), 0_u64);
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Err(ToolError::GivenUp);
        }
        out.write_all(&line)?;
        // Only the last line begins so: it says that all was sent.
        if line.starts_with(b"{\"end\":") && line.ends_with(b"}\n") {
            out.flush()?;
            let lost = match serde_json::from_slice(&line) {
                Ok(Line::End { lost, .. }) => lost,
                _ => 0,
            };
            // Without the header.
            let copied = Copied { records: count.saturating_sub(1), lost };
            return Ok(Outcome { value: copied, losses: Vec::new(), notes: Vec::new() });
        }
        count += 1;
    }
}

/// Says in words of the folder that the path of a socket in it would be too long.
fn too_long(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidInput => io::Error::new(
            error.kind(),
            "the path of the folder is too long; keep it within 80 bytes",
        ),
        _ => error,
    }
}

/// The broker's side.
pub(crate) struct Control {
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Listens in the folder; only the user of the broker can connect.
    pub(crate) fn listen(folder: &Path, shared: Arc<Shared>) -> io::Result<Self> {
        // Made where nobody else gets to, and moved when its rights are set.
        let private = folder.join("control.new");
        let _ = std::fs::remove_dir_all(&private);
        DirBuilder::new().mode(0o700).create(&private)?;
        let (draft, path) = (private.join(SOCKET), folder.join(SOCKET));
        let bind = || {
            let listener = UnixListener::bind(&draft).map_err(too_long)?;
            std::fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
            std::fs::rename(&draft, &path)?;
            Ok(listener)
        };
        let listener: io::Result<_> = bind();
        let removed = std::fs::remove_dir_all(&private);
        let listener = listener?;
        removed?;
        let thread = std::thread::Builder::new().name("dunlin-control".to_owned());
        let thread = thread.spawn(move || serve(&listener, &shared))?;
        Ok(Self { path, thread: Some(thread) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Wakes the thread; if nothing does, it ends with the process.
        if UnixStream::connect(&self.path).is_ok()
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that makes backups has panicked");
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve(listener: &UnixListener, shared: &Shared) {
    for stream in listener.incoming() {
        if shared.is_closing() {
            return;
        }
        match stream.and_then(|stream| answer(stream, shared)) {
            Ok(Copied { records, lost: 0 }) => tracing::info!(records, "a backup was made"),
            Ok(Copied { records, lost }) => {
                tracing::error!(records, lost, "a backup was made of a store that is damaged");
            }
            Err(error) => tracing::warn!(%error, "a backup was not made"),
        }
    }
}

/// Whether backups end: the store is to be closed, for good or to be opened anew.
fn is_over(shared: &Shared) -> bool {
    shared.is_closing() || shared.is_failing()
}

/// A client that is waited for, but not while the broker wants to stop.
struct Patient<'a> {
    stream: UnixStream,
    shared: &'a Shared,
}

impl Patient<'_> {
    fn wait(
        &mut self,
        mut act: impl FnMut(&mut UnixStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let since = Clock::now();
        loop {
            match act(&mut self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if is_over(self.shared) {
                        return Err(io::Error::other("the broker stops, or its disk fails"));
                    }
                    if since.elapsed() >= PATIENCE {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                outcome => return outcome,
            }
        }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(|stream| stream.read(buffer))
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn answer(stream: UnixStream, shared: &Shared) -> io::Result<Copied> {
    stream.set_read_timeout(Some(LOOK_AFTER))?;
    stream.set_write_timeout(Some(LOOK_AFTER))?;
    let mut stream = Patient { stream, shared };
    let mut request = [0; REQUEST.len()];
    stream.read_exact(&mut request)?;
    if request != REQUEST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let engine = shared.engine.read().unwrap_or_else(PoisonError::into_inner);
    let engine = engine.as_ref().ok_or_else(|| io::Error::other("the disk fails"))?;
    let mut out = BufWriter::with_capacity(64 * 1024, stream);
    let mut losses = Vec::new();
    let copied = write_export(engine, &mut losses, &mut out, &|| is_over(shared))?;
    losses.iter().for_each(|loss| tracing::error!("damaged: {loss}"));
    Ok(copied)
}
