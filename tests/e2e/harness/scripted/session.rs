//! One connection to the scripted server.

use std::io;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use super::{
    Fault, Shared,
    answer::Answer,
    command::words,
    dialogue::{Selected, answer, tell_news},
};

struct Session<'a> {
    shared: &'a Shared,
    changes: watch::Receiver<u64>,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// What has been read of the line that is coming.
    line: Vec<u8>,
    endings_seen: usize,
    selected: Option<Selected>,
}

/// What a connection waits for.
enum Event {
    Line(String),
    Changed,
    /// The client is gone, or has to go.
    End,
}

/// Serves a client to its end.
pub(super) async fn run(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let mut session = Session {
        changes: shared.changes.subscribe(),
        endings_seen: shared.state().endings.0,
        shared,
        reader: BufReader::new(reader),
        writer,
        line: Vec::new(),
        selected: None,
    };
    session.command("*", "GREETING").await?;
    while let Some(command) = session.next_command().await? {
        let (tag, text) = command.split_once(' ').unwrap_or((&command, ""));
        session.command(tag, text).await?;
        if text.eq_ignore_ascii_case("LOGOUT") {
            break;
        }
    }
    Ok(())
}

impl Session<'_> {
    /// Answers a command, as it should be or as a fault has it. Err ends the connection.
    async fn command(&mut self, tag: &str, text: &str) -> io::Result<()> {
        match self.shared.meet(text) {
            None => self.carry_out(tag, text).await?,
            Some(Fault::Answer(answer)) => self.say(&format!("{tag} {answer}\r\n")).await?,
            Some(Fault::Bye(words)) => {
                self.say(&format!("* BYE {words}\r\n")).await?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Some(Fault::Close) => return Err(io::ErrorKind::ConnectionAborted.into()),
            Some(Fault::Stall) => self.stall().await?,
            Some(Fault::LoseAnswer) => {
                self.answer(tag, text).await?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Some(Fault::CloseInLiteral) => {
                let answer = self.answer(tag, text).await?;
                self.writer.write_all(answer.half()).await?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Some(Fault::StallInLiteral) => {
                let answer = self.answer(tag, text).await?;
                self.writer.write_all(answer.half()).await?;
                self.stall().await?;
            }
            Some(Fault::Insert(bytes)) => {
                self.say(bytes).await?;
                self.carry_out(tag, text).await?;
            }
            Some(Fault::Meanwhile(change)) => {
                change(&mut self.shared.state().folders);
                self.shared.changed();
                self.carry_out(tag, text).await?;
            }
        }
        Ok(())
    }

    async fn carry_out(&mut self, tag: &str, text: &str) -> io::Result<()> {
        let answer = self.answer(tag, text).await?;
        self.writer.write_all(&answer.bytes).await
    }

    /// Does what a command says. What has to go back and forth is written here, the rest is the answer.
    async fn answer(&mut self, tag: &str, text: &str) -> io::Result<Answer> {
        let words = words(text);
        let verb = words.first().map(|verb| verb.to_ascii_uppercase());
        match verb.as_deref() {
            Some("IDLE") if self.shared.state().offers("IDLE") => self.idle(tag).await,
            Some("AUTHENTICATE") if words.len() == 2 => {
                self.say("+ \r\n").await?;
                match self.next_command().await? {
                    Some(_) => Ok(Answer::of(tag, "OK welcome")),
                    None => Err(io::ErrorKind::ConnectionAborted.into()),
                }
            }
            _ => {
                let shared = self.shared;
                let mut state = shared.state();
                let answer = answer(&mut state, &mut self.selected, tag, text, &words);
                drop(state);
                shared.changed();
                Ok(answer)
            }
        }
    }

    async fn idle(&mut self, tag: &str) -> io::Result<Answer> {
        self.say("+ idling\r\n").await?;
        loop {
            let mut news = Answer::default();
            tell_news(&self.shared.state(), &mut self.selected, &mut news);
            self.writer.write_all(&news.bytes).await?;
            match self.next_event().await? {
                Event::Changed => {}
                Event::End => return Err(io::ErrorKind::ConnectionAborted.into()),
                Event::Line(line) => match self.shared.meet(&line) {
                    None => return Ok(Answer::of(tag, "OK no longer idle")),
                    // What happens at the end of IDLE is that the connection is lost.
                    Some(Fault::Stall) => self.stall().await?,
                    Some(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
                },
            }
        }
    }

    /// Says nothing until the client goes away or is hung up on.
    async fn stall(&mut self) -> io::Result<()> {
        while !matches!(self.next_event().await?, Event::End) {}
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// The next line with its literals, which are put in as quoted strings; none at the end.
    async fn next_command(&mut self) -> io::Result<Option<String>> {
        let mut command = String::new();
        loop {
            let line = match self.next_event().await? {
                Event::Changed => continue,
                Event::End => return Ok(None),
                Event::Line(line) => line,
            };
            let Some((start, length, synchronizing)) = literal_at_end(&line) else {
                command.push_str(&line);
                return Ok(Some(command));
            };
            if synchronizing {
                self.say("+ go on\r\n").await?;
            }
            let mut content = vec![0; length];
            self.reader.read_exact(&mut content).await?;
            let content = String::from_utf8_lossy(&content);
            let quoted = content.replace('\\', "\\\\").replace('"', "\\\"");
            command.push_str(&format!("{start}\"{quoted}\""));
        }
    }

    async fn next_event(&mut self) -> io::Result<Event> {
        let (endings, words) = self.shared.state().endings;
        if endings > self.endings_seen {
            if !words.is_empty() {
                self.say(&format!("* BYE {words}\r\n")).await?;
            }
            return Ok(Event::End);
        }
        tokio::select! {
            // A line that is half read when this is dropped stays in `line`.
            read = self.reader.read_until(b'\n', &mut self.line) => {
                if read? == 0 {
                    return Ok(Event::End);
                }
                let line = String::from_utf8_lossy(&self.line).trim_end().to_owned();
                self.line.clear();
                Ok(Event::Line(line))
            }
            _ = self.changes.changed() => Ok(Event::Changed),
        }
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        self.writer.write_all(text.as_bytes()).await
    }
}

/// The text before `{12}` or `{12+}` at the end of a line, the number, and whether the client waits for an answer.
fn literal_at_end(line: &str) -> Option<(&str, usize, bool)> {
    let (start, number) = line.strip_suffix('}')?.rsplit_once('{')?;
    match number.strip_suffix('+') {
        Some(number) => Some((start, number.parse().ok()?, false)),
        None => Some((start, number.parse().ok()?, true)),
    }
}
