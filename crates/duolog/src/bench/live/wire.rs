//! As much of the two protocols as the load needs, over blocking sockets.
//!
//! Sources: NATS client protocol; Redis serialization protocol (RESP2) and its PUBLISH and SUBSCRIBE.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// How long a server may say nothing while something is awaited from it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of one read.
const READ_BYTES: usize = 256 << 10;

/// Which protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// NATS.
    Nats,
    /// Redis.
    Redis,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A message; where its body lies in the wire's buffer.
    Message(Range<usize>),
    /// An answer to a command.
    Answer,
    /// It wants to know whether we live.
    Ping,
}

/// One connection.
pub struct Wire {
    stream: TcpStream,
    dialect: Dialect,
    buffer: Vec<u8>,
    /// What of the buffer has been read and not been looked at.
    begin: usize,
    end: usize,
}

impl Dialect {
    /// The name in options and rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Redis => "redis",
        }
    }

    /// A message as a publisher writes it; the body's place in it is the second value.
    pub fn publish(self, subject: &str, body_bytes: usize) -> (Vec<u8>, Range<usize>) {
        let head = match self {
            Self::Nats => format!("PUB {subject} {body_bytes}\r\n"),
            Self::Redis => {
                format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{subject}\r\n${body_bytes}\r\n", subject.len())
            }
        };
        let mut all = head.into_bytes();
        let begin = all.len();
        all.resize(begin + body_bytes, b'x');
        all.extend_from_slice(b"\r\n");
        (all, begin..begin + body_bytes)
    }

    /// What a subscriber writes.
    pub fn subscribe(self, subject: &str) -> String {
        match self {
            Self::Nats => format!("SUB {subject} 1\r\n"),
            Self::Redis => format!("SUBSCRIBE {subject}\r\n"),
        }
    }

    /// Answers that each publish brings.
    pub fn answers_each(self) -> bool {
        match self {
            Self::Nats => false,
            Self::Redis => true,
        }
    }
}

impl Wire {
    /// Connects and says hello.
    pub fn connect(dialect: Dialect, address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut wire = Self { stream, dialect, buffer: vec![0; 2 * READ_BYTES], begin: 0, end: 0 };
        if dialect == Dialect::Nats {
            wire.line()?;
            wire.send(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"bench\",\"lang\":\"rust\",\"version\":\"0\",\"protocol\":1}\r\n")?;
        }
        wire.sync()?;
        Ok(wire)
    }

    /// Subscribes, and is sure of it.
    pub fn subscribe(&mut self, subject: &str) -> anyhow::Result<()> {
        self.send(self.dialect.subscribe(subject).as_bytes())?;
        match self.dialect {
            Dialect::Nats => self.sync(),
            Dialect::Redis => self.answer(),
        }
    }

    /// Returns when the server has taken all that was sent before.
    pub fn sync(&mut self) -> anyhow::Result<()> {
        self.send(b"PING\r\n")?;
        self.answer()
    }

    /// The socket, and what has been read and not looked at.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer[self.begin..self.end].to_vec())
    }

    /// Writes.
    pub fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).context("the server takes no more")
    }

    /// Waits for an answer.
    pub fn answer(&mut self) -> anyhow::Result<()> {
        loop {
            match self.next()? {
                Said::Answer => return Ok(()),
                Said::Ping => self.send(b"PONG\r\n")?,
                Said::Message(_) => bail!("a message where an answer was awaited"),
            }
        }
    }

    /// The next thing that the server says.
    pub fn next(&mut self) -> anyhow::Result<Said> {
        loop {
            if let Some((said, used)) = parse(self.dialect, &self.buffer[self.begin..self.end])? {
                let said = match said {
                    Said::Message(body) => Said::Message(self.begin + body.start..self.begin + body.end),
                    other => other,
                };
                self.begin += used;
                return Ok(said);
            }
            self.read()?;
        }
    }

    /// Bytes of a message that `next` told of; until the next `next`.
    pub fn body(&self, body: Range<usize>) -> &[u8] {
        &self.buffer[body]
    }

    fn read(&mut self) -> anyhow::Result<()> {
        self.buffer.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        if self.buffer.len() - self.end < READ_BYTES {
            self.buffer.resize(self.end + READ_BYTES, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.end..]).context("the server says nothing")?;
        ensure!(read > 0, "the server has closed the connection");
        self.end += read;
        Ok(())
    }

    fn line(&mut self) -> anyhow::Result<()> {
        loop {
            if let Some(end) = line_end(&self.buffer[self.begin..self.end]) {
                self.begin += end;
                return Ok(());
            }
            self.read()?;
        }
    }
}

/// Bytes up to and with the end of a line.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let at = bytes.iter().position(|byte| *byte == b'\n')?;
    Some(at + 1)
}

/// The first thing in `bytes` and its length; `None` if it has not come whole.
pub fn parse(dialect: Dialect, bytes: &[u8]) -> anyhow::Result<Option<(Said, usize)>> {
    let Some(head) = line_end(bytes) else { return Ok(None) };
    let line = &bytes[..head - 1];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match dialect {
        Dialect::Nats => match line {
            [b'M', b'S', b'G', b' ', ..] => {
                let length = number(line.rsplit(|byte| *byte == b' ').next().unwrap_or(b""))?;
                Ok(whole(bytes, head, length))
            }
            b"PING" => Ok(Some((Said::Ping, head))),
            b"PONG" | b"+OK" => Ok(Some((Said::Answer, head))),
            other => bail!("the server said {:?}", String::from_utf8_lossy(other)),
        },
        Dialect::Redis => match line {
            // A message is three bulk strings, the last is the body.
            b"*3" => {
                let mut at = head;
                for part in 0..3 {
                    let Some(end) = line_end(&bytes[at..]) else { return Ok(None) };
                    let line = bytes[at..at + end].trim_ascii_end();
                    at += end;
                    match line.split_first() {
                        Some((b'$', length)) if part < 2 => at += number(length)? + 2,
                        Some((b'$', length)) => return Ok(whole(bytes, at, number(length)?)),
                        // How many are subscribed now: a subscription's answer.
                        Some((b':', _)) => return Ok(Some((Said::Answer, at))),
                        _ => bail!("the server said {:?}", String::from_utf8_lossy(line)),
                    }
                    if at > bytes.len() {
                        return Ok(None);
                    }
                }
                Ok(None)
            }
            [b':' | b'+', ..] => Ok(Some((Said::Answer, head))),
            other => bail!("the server said {:?}", String::from_utf8_lossy(other)),
        },
    }
}

fn whole(bytes: &[u8], head: usize, length: usize) -> Option<(Said, usize)> {
    (bytes.len() >= head + length + 2).then_some((Said::Message(head..head + length), head + length + 2))
}

fn number(digits: &[u8]) -> anyhow::Result<usize> {
    let text = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
    text.with_context(|| format!("{:?} is no length", String::from_utf8_lossy(digits)))
}

#[cfg(test)]
mod tests {
    use super::{Dialect, Said, parse};

    #[test]
    fn what_servers_say_is_understood_once_it_has_come_whole() {
        for (dialect, said, expected) in [
            (Dialect::Nats, &b"MSG a 1 3\r\nabc\r\n"[..], Said::Message(11..14)),
            (Dialect::Nats, b"PONG\r\n", Said::Answer),
            (Dialect::Nats, b"PING\r\n", Said::Ping),
            (Dialect::Redis, b":12\r\n", Said::Answer),
            (Dialect::Redis, b"+PONG\r\n", Said::Answer),
            (Dialect::Redis, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", Said::Answer),
            (Dialect::Redis, b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\nabc\r\n", Said::Message(28..31)),
        ] {
            for end in 0..said.len() {
                assert!(parse(dialect, &said[..end]).expect("sound").is_none());
            }
            assert_eq!(parse(dialect, said).expect("sound"), Some((expected, said.len())));
        }
        assert!(parse(Dialect::Nats, b"-ERR 'Slow Consumer'\r\n").is_err());
    }
}
