//! An HTTP client that costs little, because it shares the machine with what it measures: one connection, kept open.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const READ_BYTES: usize = 64 * 1024;
/// Longer than any answer should take; then something is wrong.
const TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// An answer; its body is in the client until the next request.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self {
            stream,
            request: Vec::new(),
            answer: Vec::new(),
        })
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Answer<'_>> {
        self.request.clear();
        write!(
            self.request,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )?;
        self.exchange()
    }

    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Result<Answer<'_>> {
        self.request.clear();
        let length = body.len();
        write!(
            self.request,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        )?;
        self.request.extend_from_slice(body);
        self.exchange()
    }

    fn exchange(&mut self) -> Result<Answer<'_>> {
        self.stream.write_all(&self.request)?;
        self.answer.clear();
        let mut head = None;
        loop {
            let length = self.answer.len();
            self.answer.resize(length + READ_BYTES, 0);
            let read = self.stream.read(&mut self.answer[length..])?;
            self.answer.truncate(length + read);
            ensure!(read > 0, "the connection was closed");
            if head.is_none() {
                head = Head::find(&self.answer)?;
            }
            if let Some(head) = &head
                && self.answer.len() >= head.length + head.body_length
            {
                return Ok(Answer {
                    status: head.status,
                    body: &self.answer[head.length..head.length + head.body_length],
                });
            }
        }
    }
}

/// What comes before the body of an answer.
struct Head {
    status: u16,
    length: usize,
    body_length: usize,
}

impl Head {
    /// `None` as long as there is more to come.
    fn find(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..end]).context("the head of an answer")?;
        let status = text.get(9..12).context("a status")?.parse()?;
        let body_length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse().ok())?
        });
        match body_length {
            Some(body_length) if body_length <= ANSWER_BYTES_MAX => Ok(Some(Self {
                status,
                length: end + 4,
                body_length,
            })),
            _ => bail!("an answer of no stated length, or too long: {text}"),
        }
    }
}
