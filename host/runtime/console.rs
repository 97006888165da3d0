//! Where a guest's standard streams end: the tails in the shared page, and the
//! buffer that holds a command's result. Everything is synchronous and
//! bounded; nothing goes through tokio or a terminal.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::outcome::Traffic;
use crate::runtime::connection::{BLOCK, Connection};
use crate::runtime::trap::HostStop;
use crate::wire::page::{Page, Stream};

/// Largest single write that a guest is permitted.
const PERMIT: usize = 64 << 10;

/// The standard streams of the running task; one per worker.
#[derive(Debug)]
pub struct Console {
    page: Arc<Page>,
    max_result: usize,
    task: Mutex<Task>,
    /// `task` is as a program left it.
    used: AtomicBool,
}

#[derive(Debug, Default)]
struct Task {
    stdin: Bytes,
    capture: bool,
    stdout: Vec<u8>,
    /// Takes the place of both.
    connection: Option<Arc<Connection>>,
}

impl Console {
    /// Streams that end in `page`; a captured stdout is at most `max_result`
    /// bytes long.
    #[must_use]
    pub fn new(page: Arc<Page>, max_result: u64) -> Self {
        let max_result = usize::try_from(max_result).unwrap_or(usize::MAX);
        Self { page, max_result, task: Mutex::default(), used: AtomicBool::new(false) }
    }

    /// Starts a task without input whose stdout is only kept as a tail.
    pub fn begin(&self) {
        if !self.used.load(Ordering::Relaxed) {
            return;
        }
        self.used.store(false, Ordering::Relaxed);
        let mut task = self.task();
        task.stdin.clear();
        task.capture = false;
        task.stdout.clear();
    }

    /// Starts a task that reads `stdin`; with `capture`, its stdout is its
    /// result.
    pub fn begin_command(&self, stdin: Bytes, capture: bool) {
        self.used.store(true, Ordering::Relaxed);
        let mut task = self.task();
        task.stdin = stdin;
        task.capture = capture;
        task.stdout.clear();
    }

    /// The next task reads and writes this connection.
    pub fn connect(&self, socket: OwnedFd) {
        self.task().connection = Some(Arc::new(Connection::new(socket)));
    }

    /// The connection of the running task.
    #[must_use]
    pub fn connection(&self) -> Option<Arc<Connection>> {
        self.task().connection.clone()
    }

    /// Ends the connection of the running task, if there is one; what went
    /// over it.
    pub fn hang_up(&self) -> Option<Traffic> {
        self.task().connection.take().map(|connection| connection.hang_up())
    }

    /// Hands the captured stdout to `take` and lets go of a large buffer.
    pub fn finish_command<T>(&self, take: impl FnOnce(&[u8]) -> T) -> T {
        let mut task = self.task();
        let taken = take(&task.stdout);
        task.stdin.clear();
        task.capture = false;
        task.stdout.clear();
        task.stdout.shrink_to(PERMIT);
        taken
    }

    /// A poisoned lock is still whole: no code between lock and unlock can
    /// leave the task half changed.
    fn task(&self) -> MutexGuard<'_, Task> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints to a stream of the running task.
    ///
    /// # Errors
    /// A captured stdout that grew over its limit: the guest must end.
    pub fn print(&self, stream: Stream, text: &[u8]) -> Result<(), HostStop> {
        self.page.print(stream, text);
        if stream == Stream::Stdout {
            let mut task = self.task();
            if task.capture {
                if text.len() > self.max_result.saturating_sub(task.stdout.len()) {
                    return Err(HostStop::ResultTooLarge);
                }
                task.stdout.extend_from_slice(text);
            }
        }
        Ok(())
    }
}

/// The guest's standard input.
#[derive(Clone, Debug)]
pub struct Stdin(pub Arc<Console>);

impl Stdin {
    fn take(&self, size: usize) -> Bytes {
        let mut task = self.0.task();
        let size = size.min(task.stdin.len());
        task.stdin.split_to(size)
    }

    /// Reads a connection: all that is there, up to `size` bytes.
    fn receive(size: usize, read: impl FnOnce(&mut [u8]) -> io::Result<Option<usize>>) -> StreamResult<Bytes> {
        let mut block = vec![0; size.min(BLOCK)];
        match read(&mut block) {
            Ok(Some(0)) if size > 0 => Err(StreamError::Closed),
            Ok(read) => {
                block.truncate(read.unwrap_or(0));
                Ok(block.into())
            }
            Err(error) => Err(StreamError::LastOperationFailed(error.into())),
        }
    }
}

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Stdin {
    async fn ready(&mut self) {
        if let Some(connection) = self.0.connection() {
            connection.readable().await;
        }
    }
}

#[async_trait]
impl InputStream for Stdin {
    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        match self.0.connection() {
            Some(connection) => Self::receive(size, |block| connection.receive(block).map(Some)),
            None => self.read(size),
        }
    }

    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if let Some(connection) = self.0.connection() {
            return Self::receive(size, |block| connection.receive_now(block));
        }
        let bytes = self.take(size);
        if bytes.is_empty() && size > 0 { Err(StreamError::Closed) } else { Ok(bytes) }
    }
}

impl AsyncRead for Stdin {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(connection) = self.0.connection() {
            let read = connection.receive(buffer.initialize_unfilled())?;
            buffer.advance(read);
            return Poll::Ready(Ok(()));
        }
        let bytes = self.take(buffer.remaining());
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

/// The guest's standard output or error.
#[derive(Clone, Debug)]
pub struct Output {
    console: Arc<Console>,
    stream: Stream,
}

impl Output {
    /// The end of `stream`.
    #[must_use]
    pub fn new(console: &Arc<Console>, stream: Stream) -> Self {
        Self { console: Arc::clone(console), stream }
    }

    /// Where standard output is a connection.
    fn connection(&self) -> Option<Arc<Connection>> {
        (self.stream == Stream::Stdout).then(|| self.console.connection()).flatten()
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if let Some(connection) = self.connection() {
            return connection.send(&bytes).map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => StreamError::Closed,
                _ => StreamError::LastOperationFailed(error.into()),
            });
        }
        self.console.print(self.stream, &bytes).map_err(|stop| StreamError::Trap(stop.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, text: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(connection) = self.connection() {
            return Poll::Ready(connection.send(text).map(|()| text.len()));
        }
        Poll::Ready(self.console.print(self.stream, text).map(|()| text.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
