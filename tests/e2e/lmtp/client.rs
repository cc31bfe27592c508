//! The side of the mail server, said byte by byte.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    time::timeout,
};

use crate::harness::DEADLINE;

pub(crate) const RECIPIENT: &str = "dmarc@example.com";

/// A connection; answers are awaited no longer than anything else in a test.
pub(crate) struct Client(BufReader<UnixStream>);

impl Client {
    pub(crate) async fn connect(socket: &Path) -> std::io::Result<Self> {
        Ok(Self(BufReader::new(UnixStream::connect(socket).await?)))
    }

    /// Connects and says LHLO.
    pub(crate) async fn greeted(socket: &Path) -> Self {
        let mut client = Self::connect(socket).await.unwrap();
        assert_eq!(client.answer().await, "220 ruad LMTP");
        let offered = client.say("LHLO mta.example.com").await;
        assert!(offered.starts_with("250"), "{offered}");
        client
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // A server that has seen enough may close before it has read everything.
        _ = self.0.get_mut().write_all(bytes).await;
    }

    /// The next answer, the lines of one joined with `|`; empty when the connection is closed.
    pub(crate) async fn answer(&mut self) -> String {
        self.try_answer(DEADLINE).await.expect("an answer in time")
    }

    /// `None` if it takes longer.
    pub(crate) async fn try_answer(&mut self, patience: Duration) -> Option<String> {
        let reading = async {
            let mut answer = String::new();
            loop {
                let mut line = String::new();
                // A connection that is cut has no answer either.
                _ = self.0.read_line(&mut line).await;
                answer.push_str(line.trim_end());
                if line.as_bytes().get(3) != Some(&b'-') {
                    return answer;
                }
                answer.push('|');
            }
        };
        timeout(patience, reading).await.ok()
    }

    pub(crate) async fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.answer().await
    }

    /// Up to the point where the message may come.
    pub(crate) async fn begin(&mut self, recipients: &[&str]) {
        assert_code(
            &self.say("MAIL FROM:<reporter@example.net>").await,
            "250 2.1.0",
        );
        for recipient in recipients {
            assert_code(
                &self.say(&format!("RCPT TO:<{recipient}>")).await,
                "250 2.1.5",
            );
        }
        assert_code(&self.say("DATA").await, "354");
    }

    /// Hands a message over and returns the answer.
    pub(crate) async fn deliver(&mut self, message: &[u8]) -> String {
        self.begin(&[RECIPIENT]).await;
        self.send(&stuffed(message)).await;
        self.answer().await
    }

    /// Hands a message over; `None` when the server goes away before it answers, and without a word if it refuses.
    pub(crate) async fn try_deliver(socket: &Path, message: &[u8]) -> Option<String> {
        let mut client = Self::connect(socket).await.ok()?;
        let head = format!("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n");
        client.0.get_mut().write_all(head.as_bytes()).await.ok()?;
        for expected in ["220", "250", "250", "250", "354"] {
            if !client.answer().await.starts_with(expected) {
                return None;
            }
        }
        client.0.get_mut().write_all(&stuffed(message)).await.ok()?;
        let answer = client.answer().await;
        (!answer.is_empty()).then_some(answer)
    }

    /// Whether the server closes the connection without another word.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let read = timeout(DEADLINE, self.0.read(&mut byte)).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }
}

/// A message as it goes over the wire, with its end.
pub(crate) fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + 5);
    let mut is_line_start = true;
    for (place, byte) in message.iter().enumerate() {
        if is_line_start && *byte == b'.' {
            wire.push(b'.');
        }
        wire.push(*byte);
        is_line_start = message[..=place].ends_with(b"\r\n");
    }
    assert!(is_line_start, "a message ends with a line");
    wire.extend_from_slice(b".\r\n");
    wire
}

#[track_caller]
pub(crate) fn assert_code(answer: &str, code: &str) {
    assert!(answer.starts_with(code), "{code} expected: {answer}");
}
