//! What clients say, parsed as it comes: a command is a line, and a published message has its bytes behind it.
//!
//! ```text
//! PUB subject [reply] size CRLF payload CRLF
//! HPUB subject [reply] header-size total-size CRLF header payload CRLF
//! SUB subject [queue] sid CRLF        UNSUB sid [max] CRLF
//! CONNECT json CRLF    PING CRLF    PONG CRLF    INFO json CRLF    +OK CRLF    -ERR text CRLF
//! ```
//!
//! Verbs are of any case; blanks and tabs separate; a line may end in LF alone, a payload may not. Wrong verbs are refused at
//! their first wrong byte, so that who speaks another protocol is told at once. What has been looked at and is not whole
//! stays with the caller; the parser keeps its place in it. It copies nothing.

use crate::limits::CONTROL_LINE_BYTES;

/// One command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Options of the connection, JSON.
    Connect(&'a [u8]),
    /// A message.
    Publish(Publish<'a>),
    /// Listen.
    Subscribe {
        /// Where.
        subject: &'a [u8],
        /// Members of a group share what is heard.
        queue: Option<&'a [u8]>,
        /// The client's name for it.
        sid: &'a [u8],
    },
    /// Listen no more.
    Unsubscribe {
        /// The client's name for it.
        sid: &'a [u8],
        /// After so many messages since its beginning; 0 is at once.
        max: u64,
    },
    /// Is anybody there?
    Ping,
    /// The answer to ours.
    Pong,
    /// What servers say among themselves, JSON.
    Info(&'a [u8]),
    /// The client's consent; nothing follows from it.
    Consent,
    /// The client's complaint.
    Complaint,
}

/// A message as published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Where.
    pub subject: &'a [u8],
    /// Where an answer is awaited; empty if nowhere.
    pub reply: &'a [u8],
    /// The header block, if it was sent with one.
    pub headers: Option<&'a [u8]>,
    /// What is behind the header block.
    pub payload: &'a [u8],
}

/// Why there is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No command begins so, or a payload does not end where it should.
    #[error("unknown protocol operation")]
    UnknownOperation,
    /// A line longer than a line may be.
    #[error("maximum control line exceeded")]
    ControlLine,
    /// A message larger than a message may be.
    #[error("maximum payload violation")]
    Payload,
    /// Too few arguments, too many, or one that is no number.
    #[error("arguments cannot be read")]
    Arguments,
}

/// What a look at the input came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A command, and how many bytes it and what was before it took.
    Command(Command<'a>, usize),
    /// So many bytes are of no use any more, and more are wanted; the rest is to be shown again.
    More(usize),
    /// Nothing more can be understood.
    Wrong(ParseError),
}

/// Where something lies in what has come of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    from: usize,
    to: usize,
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.from..self.to).unwrap_or_default()
    }
}

/// The line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    subject: Span,
    reply: Span,
    /// Bytes of the header block.
    headers: Option<usize>,
    /// Bytes of header block and payload.
    size: usize,
    /// Where they begin.
    body: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the first byte of a command.
    #[default]
    Start,
    /// In a line whose verb ends at `from` and that has no end as far as `seen`.
    Line { verb: Verb, from: usize, seen: usize },
    /// Behind the line of a message whose bytes have not all come.
    Body(Head),
    /// In what follows a verb without arguments, which may be anything.
    Rest(Verb),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Publish,
    PublishWithHeaders,
    Subscribe,
    Unsubscribe,
    Ping,
    Pong,
    Connect,
    Info,
    Consent,
    Complaint,
}

const VERBS: [(&[u8], Verb); 10] = [
    (b"PUB", Verb::Publish),
    (b"HPUB", Verb::PublishWithHeaders),
    (b"SUB", Verb::Subscribe),
    (b"UNSUB", Verb::Unsubscribe),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"CONNECT", Verb::Connect),
    (b"INFO", Verb::Info),
    (b"+OK", Verb::Consent),
    (b"-ERR", Verb::Complaint),
];

impl Verb {
    /// With which verb `bytes` begin and how long it is; `None` while they are the beginning of one.
    fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, ParseError> {
        for (text, verb) in VERBS {
            let length = text.len().min(bytes.len());
            if bytes[..length].eq_ignore_ascii_case(&text[..length]) {
                return Ok((length == text.len()).then_some((verb, length)));
            }
        }
        Err(ParseError::UnknownOperation)
    }

    fn has_arguments(self) -> bool {
        !matches!(self, Self::Ping | Self::Pong | Self::Consent)
    }

    /// Whether a blank must stand between it and its arguments.
    fn wants_blank(self) -> bool {
        self.has_arguments() && self != Self::Connect
    }
}

/// The arguments of a line, as far as any command has some, and how many there are.
#[derive(Clone, Copy, Debug, Default)]
struct Arguments {
    spans: [Span; 4],
    count: usize,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

impl Arguments {
    /// Splits the line that goes on at `at`; `None` if it has no end yet. Answers, too, where the next line begins.
    fn split(bytes: &[u8], mut at: usize) -> Option<(Self, usize)> {
        let mut arguments = Self::default();
        loop {
            let byte = *bytes.get(at)?;
            if byte == b'\n' {
                return Some((arguments, at + 1));
            }
            if is_blank(byte) {
                at += 1;
                continue;
            }
            let from = at;
            // Most bytes of an argument are told by the first comparison.
            while *bytes.get(at)? > b' ' || !(is_blank(bytes[at]) || bytes[at] == b'\n') {
                at += 1;
            }
            if let Some(span) = arguments.spans.get_mut(arguments.count) {
                *span = Span { from, to: at };
            }
            arguments.count += 1;
        }
    }

    fn all(&self) -> Option<&[Span]> {
        self.spans.get(..self.count)
    }
}

/// A number of at most nine digits, as the peer reads them.
fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + usize::from(digit - b'0')))
}

/// Understands one connection's input.
#[derive(Clone, Debug)]
pub struct Parser {
    /// Bytes of a message, header block included.
    payload_bytes_max: usize,
    state: State,
}

impl Parser {
    /// At the beginning of a connection.
    #[must_use]
    pub fn new(payload_bytes_max: usize) -> Self {
        Self { payload_bytes_max, state: State::Start }
    }

    /// Reads on. `bytes` are what has come and was not used: after [`Step::More`] the same again, and more behind it.
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        match self.state {
            State::Start => self.start(bytes),
            State::Line { verb, from, seen } => match bytes.get(seen..).and_then(line_end) {
                Some(_) => self.line(verb, from, bytes),
                None => self.wait_for_line(verb, from, bytes),
            },
            State::Body(head) => self.body(head, bytes),
            State::Rest(verb) => self.rest(verb, bytes, 0),
        }
    }

    fn start<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        if let [b'P' | b'p', b'U' | b'u', b'B' | b'b', b' ' | b'\t', ..] = bytes {
            return self.line(Verb::Publish, 4, bytes);
        }
        let (verb, from) = match Verb::read(bytes) {
            Ok(Some(read)) => read,
            Ok(None) => return Step::More(0),
            Err(error) => return Step::Wrong(error),
        };
        if !verb.has_arguments() {
            return self.rest(verb, bytes, from);
        }
        match bytes.get(from) {
            None => Step::More(0),
            Some(b' ' | b'\t') => self.line(verb, from, bytes),
            Some(_) if verb.wants_blank() => Step::Wrong(ParseError::UnknownOperation),
            Some(_) => self.line(verb, from, bytes),
        }
    }

    fn line<'a>(&mut self, verb: Verb, from: usize, bytes: &'a [u8]) -> Step<'a> {
        if matches!(verb, Verb::Connect | Verb::Info | Verb::Complaint) {
            return self.text_line(verb, from, bytes);
        }
        let Some((arguments, behind)) = Arguments::split(bytes, from) else {
            return self.wait_for_line(verb, from, bytes);
        };
        self.state = State::Start;
        let Some(first) = arguments.spans.first().filter(|_| arguments.count > 0) else {
            return Step::Wrong(ParseError::Arguments);
        };
        // Without the line's end, as the peer counts.
        let is_crlf = bytes[..behind].ends_with(b"\r\n");
        if behind - 1 - usize::from(is_crlf) - first.from > CONTROL_LINE_BYTES {
            return Step::Wrong(ParseError::ControlLine);
        }
        let read = match verb {
            Verb::Publish => Self::publish(arguments, behind, bytes),
            Verb::PublishWithHeaders => Self::publish_with_headers(arguments, behind, bytes),
            _ => {
                let command = match verb {
                    Verb::Subscribe => Self::subscribe(arguments, bytes),
                    _ => Self::unsubscribe(arguments, bytes),
                };
                return command
                    .map_or(Step::Wrong(ParseError::Arguments), |command| Step::Command(command, behind));
            }
        };
        match read {
            None => Step::Wrong(ParseError::Arguments),
            Some(head) if head.size > self.payload_bytes_max => Step::Wrong(ParseError::Payload),
            Some(head) => self.body(head, bytes),
        }
    }

    /// A line whose argument is all of it.
    fn text_line<'a>(&mut self, verb: Verb, from: usize, bytes: &'a [u8]) -> Step<'a> {
        let Some(length) = line_end(&bytes[from..]) else { return self.wait_for_line(verb, from, bytes) };
        self.state = State::Start;
        let text = bytes[from..from + length].trim_ascii();
        if text.len() > CONTROL_LINE_BYTES {
            return Step::Wrong(ParseError::ControlLine);
        }
        let command = match verb {
            Verb::Connect => Command::Connect(text),
            Verb::Info => Command::Info(text),
            _ => Command::Complaint,
        };
        Step::Command(command, from + length + 1)
    }

    fn wait_for_line(&mut self, verb: Verb, from: usize, bytes: &[u8]) -> Step<'static> {
        self.state = State::Line { verb, from, seen: bytes.len() };
        let line = bytes[from..].trim_ascii_start();
        if line.len() - usize::from(line.ends_with(b"\r")) > CONTROL_LINE_BYTES {
            return Step::Wrong(ParseError::ControlLine);
        }
        Step::More(0)
    }

    /// What follows a verb without arguments goes unread.
    fn rest<'a>(&mut self, verb: Verb, bytes: &'a [u8], from: usize) -> Step<'a> {
        let Some(length) = line_end(&bytes[from..]) else {
            self.state = State::Rest(verb);
            return Step::More(bytes.len());
        };
        self.state = State::Start;
        let command = match verb {
            Verb::Ping => Command::Ping,
            Verb::Pong => Command::Pong,
            _ => Command::Consent,
        };
        Step::Command(command, from + length + 1)
    }

    fn publish(arguments: Arguments, body: usize, bytes: &[u8]) -> Option<Head> {
        let (subject, reply, size) = match *arguments.all()? {
            [subject, size] => (subject, Span::default(), size),
            [subject, reply, size] => (subject, reply, size),
            _ => return None,
        };
        Some(Head { subject, reply, headers: None, size: number(size.of(bytes))?, body })
    }

    fn publish_with_headers(arguments: Arguments, body: usize, bytes: &[u8]) -> Option<Head> {
        let (subject, reply, headers, size) = match *arguments.all()? {
            [subject, headers, size] => (subject, Span::default(), headers, size),
            [subject, reply, headers, size] => (subject, reply, headers, size),
            _ => return None,
        };
        let (headers, size) = (number(headers.of(bytes))?, number(size.of(bytes))?);
        (headers <= size).then_some(Head { subject, reply, headers: Some(headers), size, body })
    }

    fn subscribe(arguments: Arguments, bytes: &[u8]) -> Option<Command<'_>> {
        match *arguments.all()? {
            [subject, sid] => {
                Some(Command::Subscribe { subject: subject.of(bytes), queue: None, sid: sid.of(bytes) })
            }
            [subject, queue, sid] => {
                let queue = Some(queue.of(bytes));
                Some(Command::Subscribe { subject: subject.of(bytes), queue, sid: sid.of(bytes) })
            }
            _ => None,
        }
    }

    fn unsubscribe(arguments: Arguments, bytes: &[u8]) -> Option<Command<'_>> {
        match *arguments.all()? {
            [sid] => Some(Command::Unsubscribe { sid: sid.of(bytes), max: 0 }),
            // What is no number is no reason to go on listening.
            [sid, max] => {
                let max = number(max.of(bytes)).unwrap_or(0) as u64;
                Some(Command::Unsubscribe { sid: sid.of(bytes), max })
            }
            _ => None,
        }
    }

    fn body<'a>(&mut self, head: Head, bytes: &'a [u8]) -> Step<'a> {
        let end = head.body + head.size;
        match bytes.get(end..) {
            Some([b'\r', b'\n', ..]) => {}
            None | Some([] | [b'\r']) => {
                self.state = State::Body(head);
                return Step::More(0);
            }
            Some(_) => return Step::Wrong(ParseError::UnknownOperation),
        }
        self.state = State::Start;
        let (headers, payload) = bytes[head.body..end].split_at(head.headers.unwrap_or(0));
        let publish = Publish {
            subject: head.subject.of(bytes),
            reply: head.reply.of(bytes),
            headers: head.headers.map(|_| headers),
            payload,
        };
        Step::Command(Command::Publish(publish), end + 2)
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests;
