//! Lines in, answers out, each in its time.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    data::{Read, Unstuff},
    listener::Stream,
};

/// Bytes of a command at most; RFC 5321 section 4.5.3.1.4 asks for 512, extensions for some more.
const LINE_BYTES_MAX: usize = 4096;

/// A message must come on by this much before it has been too slow.
const BLOCK_BYTES: usize = 64 * 1024;

/// Answers are held back while more commands are at hand (RFC 2920 section 3.2), up to this much.
const ANSWERS_BYTES_MAX: usize = 8 * 1024;

/// Why a conversation is over.
#[derive(Debug)]
pub(super) enum End {
    /// The client said so, or closed the connection.
    Closed,
    /// The client made us wait too long.
    Slow,
    /// The program stops.
    Stopping,
    /// The client does not speak LMTP.
    Nonsense,
    /// The connection is lost.
    Lost(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// A command, or what a client sent in its place.
#[derive(Debug)]
pub(super) enum Line {
    /// With its CRLF.
    Command(Vec<u8>),
    TooLong,
    /// Without a CR, with one in the middle, or with a NUL.
    Malformed,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: BufReader<Stream>,
    answers: Vec<u8>,
    timeout: Duration,
}

impl Wire {
    pub(super) fn new(stream: Stream, timeout: Duration) -> Self {
        Self {
            stream: BufReader::with_capacity(32 * 1024, stream),
            answers: Vec::new(),
            timeout,
        }
    }

    /// Adds a line to the answers.
    pub(super) fn answer(&mut self, line: &str) {
        self.answers.extend_from_slice(line.as_bytes());
        self.answers.extend_from_slice(b"\r\n");
    }

    /// Sends the answers.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let written = async {
            self.stream.write_all(&self.answers).await?;
            self.stream.flush().await
        };
        timeout(self.timeout, written)
            .await
            .map_err(|_| End::Slow)??;
        self.answers.clear();
        Ok(())
    }

    /// Says that nothing more comes.
    pub(super) async fn close(mut self) {
        if self.flush().await.is_ok() {
            _ = timeout(self.timeout, self.stream.shutdown()).await;
        }
    }

    /// Waits for the next command; all of it must come in time.
    pub(super) async fn line(&mut self, shutdown: &CancellationToken) -> Result<Line, End> {
        if shutdown.is_cancelled() {
            return Err(End::Stopping);
        }
        if self.stream.buffer().is_empty() || self.answers.len() > ANSWERS_BYTES_MAX {
            self.flush().await?;
        }
        let deadline = Instant::now() + self.timeout;
        let mut line = Vec::new();
        let mut is_too_long = false;
        loop {
            let filled = shutdown.run_until_cancelled(timeout_at(deadline, self.stream.fill_buf()));
            let bytes = filled
                .await
                .ok_or(End::Stopping)?
                .map_err(|_| End::Slow)??;
            if bytes.is_empty() {
                return Err(End::Closed);
            }
            let newline = bytes.iter().position(|byte| *byte == b'\n');
            let length = newline.map_or(bytes.len(), |place| place + 1);
            is_too_long |= line.len() + length > LINE_BYTES_MAX;
            if !is_too_long {
                line.extend_from_slice(&bytes[..length]);
            }
            self.stream.consume(length);
            if newline.is_some() {
                break;
            }
        }
        Ok(if is_too_long {
            Line::TooLong
        } else {
            checked(line)
        })
    }

    /// Waits for the next piece of a message and puts it into `piece`. Returns whether it was the last.
    pub(super) async fn piece(
        &mut self,
        unstuff: &mut Unstuff,
        pace: &mut Pace,
        piece: &mut Vec<u8>,
    ) -> Result<bool, End> {
        piece.clear();
        let deadline = *pace
            .deadline
            .get_or_insert_with(|| Instant::now() + self.timeout);
        let filled = timeout_at(deadline, self.stream.fill_buf()).await;
        let bytes = filled.map_err(|_| End::Slow)??;
        if bytes.is_empty() {
            return Err(End::Closed);
        }
        let (length, is_last) = match unstuff.read(bytes, piece) {
            Read::All => (bytes.len(), false),
            Read::End(length) => (length, true),
        };
        self.stream.consume(length);
        pace.came(length);
        Ok(is_last)
    }
}

/// How fast a message comes: a block must arrive in the time that a connection may stand still, or a client that sends a byte
/// now and then would keep its place for ever.
#[derive(Debug, Default)]
pub(super) struct Pace {
    deadline: Option<Instant>,
    block_bytes: usize,
}

impl Pace {
    fn came(&mut self, bytes: usize) {
        self.block_bytes += bytes;
        if self.block_bytes >= BLOCK_BYTES {
            *self = Self::default();
        }
    }
}

/// Lines end with CRLF and contain neither CR nor NUL (RFC 5321 section 2.3.8).
fn checked(line: Vec<u8>) -> Line {
    match line.strip_suffix(b"\r\n") {
        Some(command) if !command.iter().any(|byte| matches!(byte, b'\r' | 0)) => {
            Line::Command(line)
        }
        Some(_) | None => Line::Malformed,
    }
}
